"""A record in one line of text, put together the same way in Python and in the store, so that hashes can be compared.

Python takes it from the bytes on the topic with fastavro, the store from the columns of a row: every field of the
event, and the broker's time.
"""

from __future__ import annotations

import copy
import io
import struct
from collections.abc import Mapping, Sequence
from hashlib import md5
from typing import Any

import fastavro

from steptrail.schemas.wire.bundled import STEP_EVENT_SCHEMA

_FRAME = 10
_NULL = "\\N"


def _without_logical_types(schema: dict[str, Any]) -> Any:
    plain = copy.deepcopy(schema)
    for field in plain["fields"]:
        if isinstance(field["type"], dict):
            field["type"].pop("logicalType", None)
    return fastavro.parse_schema(plain)


_SCHEMA = _without_logical_types(STEP_EVENT_SCHEMA)


def _header() -> bytes:
    """A container file of our schema without a block; its last 16 bytes are the marker that ends each block."""
    file = io.BytesIO()
    fastavro.writer(file, _SCHEMA, [])
    return file.getvalue()


_HEADER = _header()
_SYNC = _HEADER[-16:]


def decode(values: Sequence[bytes]) -> list[dict[str, Any]]:
    """The events in these records: times in microseconds, ids as bytes, status by name. Raises when one is none.

    All at once, because that is several times faster: their bodies are the inside of one block of a container file.
    """
    for value in values:
        if value[:2] != b"\xc3\x01":
            raise ValueError(f"the value begins with {value[:2]!r}")
    body = b"".join([value[_FRAME:] for value in values])
    block = io.BytesIO()
    for number in (len(values), len(body)):
        fastavro.schemaless_writer(block, "long", number)
    events: list[Any] = list(fastavro.reader(io.BytesIO(_HEADER + block.getvalue() + body + _SYNC)))
    return events


def text_of(event: Mapping[str, Any], broker_ms: int) -> str:
    """The line of an event that the broker appended at `broker_ms`."""
    duration = event["duration_ms"]
    return "\x1f".join(
        (
            event["event_id"].hex(),
            event["pipeline"],
            event["doc_id"],
            event["step_name"],
            event["status"],
            str(event["timestamp"]),
            str(broker_ms),
            event["execution_id"].hex(),
            str(event["attempt"]),
            _NULL if duration is None else struct.pack("<d", duration).hex().upper(),
            _nullable(event["error_type"]),
            _nullable(event["error_message"]),
            event["details"],
            event["metrics"],
            event["depends_on"],
            _nullable(event["trace_id"]),
            event["worker"],
            event["emitter_id"].hex(),
            str(event["sequence"]),
        )
    )


def hash_of(event: Mapping[str, Any], broker_ms: int) -> str:
    """MD5 of that line, as the store writes it."""
    return md5(text_of(event, broker_ms).encode(), usedforsecurity=False).hexdigest().upper()


HASH_SQL = f"""hex(MD5(arrayStringConcat([
    replaceAll(toString(event_id), '-', ''), toString(pipeline), doc_id, toString(step_name), toString(status),
    toString(toUnixTimestamp64Micro(timestamp)), toString(toUnixTimestamp64Milli(broker_time)),
    replaceAll(toString(execution_id), '-', ''), toString(attempt), ifNull(hex(duration_ms), '\\{_NULL}'),
    ifNull(concat('=', toString(error_type)), '\\{_NULL}'), ifNull(concat('=', error_message), '\\{_NULL}'),
    details, metrics, depends_on, ifNull(concat('=', trace_id), '\\{_NULL}'), toString(worker),
    toString(emitter_id), toString(sequence)], char(31))))"""
"""The same hash of a row of `steps`."""


def _nullable(text: str | None) -> str:
    return _NULL if text is None else f"={text}"
