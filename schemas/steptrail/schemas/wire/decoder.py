"""Decodes events strictly: each event has exactly one encoding.

Avro libraries are lenient: they accept trailing bytes, negative union indexes and overlong varints. This reader must
agree, message by message, with a fast one that decodes whole batches, so it cannot be: it consumes the whole body, and
encoding the event must reproduce the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from struct import unpack_from
from typing import Any, Final

from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.event import StepEvent
from steptrail.schemas.limits import LIMITS, MAX_EVENT_BYTES, Between, Finite, Limit
from steptrail.schemas.status import STATUS_BY_CODE
from steptrail.schemas.values.json_text import json_fault
from steptrail.schemas.wire.bundled import STEP_EVENT_FIELDS, STEP_EVENT_SCHEMA

Reader = Callable[[bytes, int], tuple[Any, int]]
"""Reads one value at an offset: the value and the offset after it; raises _Refused."""

Check = Callable[[Any, int], None]
"""Holds a value that was read at an offset to its limit; raises _Refused."""


class _Refused(Exception):
    """Why and where a value cannot be decoded; becomes an EventDecodeError that also names the field."""

    def __init__(self, reason: DecodeReason, position: int, message: str) -> None:
        super().__init__(reason, position, message)
        self.reason, self.position, self.message = reason, position, message


def decode_event(body: bytes, schema: dict[str, Any] = STEP_EVENT_SCHEMA) -> StepEvent:
    """Decode an unframed body written with `schema` (a bundled one, or one that `steptrail.schemas.wire.resolution`
    finds readable: its additional fields are skipped).

    Raises EventDecodeError for anything that `encode_event` would not write for an event within
    `steptrail.schemas.limits`.
    """
    if len(body) > MAX_EVENT_BYTES:
        message = f"the event has {len(body)} bytes, at most {MAX_EVENT_BYTES} are allowed"
        raise EventDecodeError(DecodeReason.TOO_LARGE, message)
    values: dict[str, Any] = {}
    position = 0
    for name, read, check in _plan(schema):
        start = position
        try:
            value, position = read(body, position)
            if check is not None:
                check(value, start)
        except _Refused as refused:
            raise EventDecodeError(
                refused.reason, refused.message, position=refused.position, field=name
            ) from None
        values[name] = value
    if position != len(body):
        message = f"{len(body) - position} bytes after the end of the event"
        raise EventDecodeError(DecodeReason.TRAILING_BYTES, message, position=position)
    values["status"] = STATUS_BY_CODE[values["status"]]
    return StepEvent(**{name: values[name] for name in STEP_EVENT_FIELDS})


@dataclass(frozen=True, slots=True)
class DecodedField:
    """A decoded field; its bytes are `body[start:end]`."""

    name: str
    value: Any
    start: int
    end: int


def decode_fields(
    body: bytes, schema: dict[str, Any] = STEP_EVENT_SCHEMA, *, last: str | None = None
) -> tuple[list[DecodedField], EventDecodeError | None]:
    """Decode as much as possible of a body that may be invalid: the fields up to the first fault, and that fault.

    Stops after the field `last`. For people who diagnose a message; programs use `decode_event`. A field whose value is
    not allowed (an unknown status, bad JSON) is the fault, and not among the fields.
    """
    fields: list[DecodedField] = []
    position = 0
    for name, read, check in _plan(schema):
        start = position
        try:
            value, position = read(body, position)
            if check is not None:
                check(value, start)
        except _Refused as refused:
            return fields, EventDecodeError(
                refused.reason, refused.message, position=refused.position, field=name
            )
        fields.append(DecodedField(name, value, start, position))
        if name == last:
            return fields, None
    if position != len(body):
        message = f"{len(body) - position} bytes after the end of the event"
        return fields, EventDecodeError(DecodeReason.TRAILING_BYTES, message, position=position)
    return fields, None


def _plan(schema: dict[str, Any]) -> list[tuple[str, Reader, Check | None]]:
    plan = _PLANS.get(id(schema))
    if plan is None or plan[0] is not schema:
        fields = [(f["name"], _reader(f["type"]), _checked(LIMITS.get(f["name"]))) for f in schema["fields"]]
        plan = _PLANS[id(schema)] = (schema, fields)
    return plan[1]


def _reader(kind: Any) -> Reader:
    if isinstance(kind, list):
        return _nullable(_reader(kind[1]))
    if isinstance(kind, dict):
        if kind["type"] == "fixed":
            return _fixed(kind["size"])
        kind = kind["type"]
    return _READERS[kind]


def _long(body: bytes, position: int, bits: int = 64) -> tuple[int, int]:
    number = shift = 0
    at = position
    size = len(body)
    while True:
        if at >= size:
            raise _Refused(DecodeReason.TRUNCATED, size, "the body ends within a number")
        byte = body[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            raise _Refused(DecodeReason.NOT_CANONICAL, at, "a number of more than 10 bytes")
    if byte == 0 and shift:
        raise _Refused(DecodeReason.NOT_CANONICAL, at - 1, "a number with a needless last byte")
    if number >> bits:
        raise _Refused(DecodeReason.BAD_VALUE, position, f"a number of more than {bits} bits")
    return number >> 1 ^ -(number & 1), at


def _int(body: bytes, position: int) -> tuple[int, int]:
    return _long(body, position, 32)


def _status(body: bytes, position: int) -> tuple[int, int]:
    try:
        return _long(body, position, 32)
    except _Refused as refused:
        if refused.reason is DecodeReason.BAD_VALUE:
            refused.reason = DecodeReason.BAD_STATUS
        raise


def _string(body: bytes, position: int) -> tuple[str, int]:
    length, start = _long(body, position)
    if length < 0:
        raise _Refused(DecodeReason.BAD_VALUE, position, f"a text of length {length}")
    end = start + length
    if end > len(body):
        message = f"a text of {length} bytes, of which only {len(body) - start} are there"
        raise _Refused(DecodeReason.TRUNCATED, len(body), message)
    try:
        return body[start:end].decode(), end
    except UnicodeDecodeError as error:
        raise _Refused(DecodeReason.BAD_UTF8, start + error.start, error.reason) from None


def _double(body: bytes, position: int) -> tuple[float, int]:
    if position + 8 > len(body):
        raise _Refused(DecodeReason.TRUNCATED, len(body), "the body ends within a double")
    (number,) = unpack_from("<d", body, position)
    return number, position + 8


def _fixed(size: int) -> Reader:
    def read(body: bytes, position: int) -> tuple[bytes, int]:
        end = position + size
        if end > len(body):
            raise _Refused(DecodeReason.TRUNCATED, len(body), f"the body ends within {size} fixed bytes")
        return body[position:end], end

    return read


def _nullable(read_some: Reader) -> Reader:
    def read(body: bytes, position: int) -> tuple[Any, int]:
        index, at = _long(body, position)
        if index == 0:
            return None, at
        if index != 1:
            raise _Refused(DecodeReason.BAD_VALUE, position, f"a union of two has no branch {index}")
        return read_some(body, at)

    return read


def _checked(limit: Limit | None) -> Check | None:
    """The check of a value, read at a position, against its limit; None without a limit."""
    if limit is None:
        return None

    def check(value: Any, position: int) -> None:
        if value is None:
            return
        if isinstance(limit, Between):
            fault = None if limit.least <= value <= limit.greatest else f"{limit.rule}, not {value}"
        elif isinstance(limit, Finite):
            fault = None if math.isfinite(value) else f"{limit.rule}, not {value}"
        else:
            fault = json_fault(value.encode(), limit.opening)
        if fault is not None:
            raise _Refused(limit.reason, position, fault)

    return check


_READERS: Final[dict[str, Reader]] = {
    "string": _string,
    "int": _int,
    "long": _long,
    "double": _double,
    "enum": _status,
}
_PLANS: dict[int, tuple[dict[str, Any], list[tuple[str, Reader, Check | None]]]] = {}
