"""A prefilter for rejected batches: finds which of many values are not events.

numpy decodes all values of a schema in parallel, field by field: a tenth of the strict decoder's time, a fortieth
without the contents of texts. It gives no reasons. It uses the same limits (`steptrail.schemas.limits`), and rejects
exactly what the strict decoder rejects.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson

from steptrail.schemas.limits import LIMITS, MAX_EVENT_BYTES, Between, Finite, Json, Limit
from steptrail.schemas.values.json_text import MAX_JSON_DIGITS, beyond_limits, json_fault
from steptrail.schemas.wire.bundled import STEP_EVENT_SCHEMA
from steptrail.schemas.wire.framing import SINGLE_OBJECT_PREFIX

_Numbers: TypeAlias = "npt.NDArray[Any]"
_Rows: TypeAlias = "npt.NDArray[np.intp] | slice"

# Small enough for the arrays to stay in a core's cache.
_AT_ONCE = 8_192
_BYTES_AT_ONCE = 4 * 1024 * 1024
_JSON_AT_ONCE = 64
_LONGEST_NUMBER = 10
_ALL = slice(None)


def suspects(
    values: Sequence[bytes | None],
    schemas: Mapping[bytes, Mapping[str, Any]] | None = None,
    *,
    texts: bool = True,
) -> list[int]:
    """The indexes of the `values` that are not events, in order.

    `schemas` maps frames to writers' schemas; by default only this version's. Without `texts`, the contents of texts
    (UTF-8, JSON) are not checked, which saves most of the work.
    """
    schemas = {SINGLE_OBJECT_PREFIX: STEP_EVENT_SCHEMA} if schemas is None else schemas
    lengths = sorted({len(frame) for frame in schemas}, reverse=True)
    by_frame: dict[bytes, list[int]] = {}
    found: list[int] = []
    latest, numbers = b"", found  # the next value nearly always has the same frame
    for number, value in enumerate(values):
        if value is None or not latest or not value.startswith(latest):
            latest = next((value[:n] for n in lengths if value[:n] in schemas), b"") if value else b""
            numbers = by_frame.setdefault(latest, []) if latest else found
        numbers.append(number)
    for frame, numbers in by_frame.items():
        framed = [values[number] or b"" for number in numbers]
        for begin, end in _pieces(framed, 0, len(framed)):
            look = _Look(framed[begin:end], len(frame), texts)
            look.read(schemas[frame])
            found += [numbers[begin + row] for row in np.flatnonzero(~look.right).tolist()]
    return sorted(found)


def _pieces(values: Sequence[bytes], begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Halve until each piece is small enough to decode at once."""
    few = end - begin <= _AT_ONCE
    if few and (end - begin == 1 or sum(map(len, values[begin:end])) <= _BYTES_AT_ONCE):
        yield begin, end
    else:
        middle = (begin + end) // 2
        yield from _pieces(values, begin, middle)
        yield from _pieces(values, middle, end)


class _Look:
    """Some values, each with its read position `at`, an index into their joined bytes.

    An invalid value is no longer `right`, and is still read, but never beyond its end.
    """

    def __init__(self, values: Sequence[bytes], head: int, look_into_texts: bool) -> None:
        self._look_into_texts = look_into_texts
        # A read at the end of the last value, or a number that starts there, must stay in bounds.
        self._joined = b"".join([*values, bytes(_LONGEST_NUMBER + 8)])
        self._bytes = np.frombuffer(self._joined, np.uint8)
        sizes = np.fromiter(map(len, values), np.int64, len(values))
        self._end = np.cumsum(sizes)
        self._rows = np.arange(len(values))
        self.at = self._end - sizes + head
        self.right = sizes <= MAX_EVENT_BYTES + head
        self._texts: list[tuple[_Numbers, _Numbers, _Numbers]] = []  # rows, from, to

    def read(self, schema: Mapping[str, Any]) -> None:
        """Decode field by field, in the schema's order."""
        for field in schema["fields"]:
            kind, limit = field["type"], LIMITS.get(field["name"])
            rows: _Rows = _ALL
            if isinstance(kind, list):
                kind, rows = kind[1], self._present()
            self._field(kind, limit, rows)
        self.right &= self.at == self._end
        if self._look_into_texts:
            self._check_utf8()

    def _field(self, kind: Any, limit: Limit | None, rows: _Rows) -> None:
        name = kind["type"] if isinstance(kind, dict) else kind
        if name == "fixed":
            self._skip(kind["size"], rows)
        elif name == "string":
            begin, end = self._text(rows)
            if isinstance(limit, Json) and self._look_into_texts:
                self._json(limit, begin, end, rows)
        elif name == "double":
            self._double(limit, rows)
        else:
            self._whole(64 if name == "long" else 32, limit, rows)

    def _whole(self, bits: int, limit: Limit | None, rows: _Rows) -> None:
        zigzag = self._number(rows)
        if bits < 64:
            self._require(zigzag >> np.uint64(bits) == 0, rows)
        if isinstance(limit, Between):
            number = (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(np.int64)
            self._require((number >= limit.least) & (number <= limit.greatest), rows)

    def _double(self, limit: Limit | None, rows: _Rows) -> None:
        begin = self.at[rows].copy()
        self._skip(8, rows)
        if isinstance(limit, Finite):
            eight = self._bytes[begin[:, None] + np.arange(8)]
            self._require(np.isfinite(eight.view("<f8")[:, 0]), rows)

    def _require(self, fulfilled: _Numbers, rows: _Rows = _ALL) -> None:
        self.right[rows] &= fulfilled

    def _go(self, to: _Numbers, rows: _Rows = _ALL) -> None:
        """Move to these positions; one outside its value marks it invalid and ends it."""
        end = self._end[rows]
        self._require(to <= end, rows)
        self.at[rows] = np.minimum(to, end)

    def _skip(self, size: int, rows: _Rows = _ALL) -> None:
        self._go(self.at[rows] + size, rows)

    def _number(self, rows: _Rows = _ALL) -> _Numbers:
        """Decode an Avro number of each, still zigzag: odd ones are negative."""
        at = self.at[rows]  # a copy for rows, a view for all
        byte = self._bytes[at]
        at = at + 1
        number: _Numbers = (byte & 0x7F).astype(np.uint64)
        right = np.ones(len(at), np.bool_)
        more = np.flatnonzero(byte & 0x80)
        for shift in range(7, 7 * _LONGEST_NUMBER, 7):
            if not more.size:
                break
            byte = self._bytes[np.minimum(at[more], len(self._bytes) - 1)]
            at[more] += 1
            number[more] |= (byte & 0x7F).astype(np.uint64) << np.uint64(shift)
            # The last of several bytes is not zero, and the tenth holds one bit.
            right[more] = (byte != 0) & ((shift < 63) | (byte < 2))
            more = more[byte >= 0x80]
        at[more] = len(self._bytes)  # a number longer than the remaining bytes
        self._require(right, rows)
        self._go(at, rows)
        return number

    def _present(self) -> npt.NDArray[np.intp]:
        """The rows whose nullable union is not null."""
        branch = self._number()
        self._require((branch == 0) | (branch == 2))
        return np.flatnonzero(branch == 2)

    def _text(self, rows: _Rows = _ALL) -> tuple[_Numbers, _Numbers]:
        """The start and end of each text."""
        size = self._number(rows)
        self._require((size & np.uint64(1)) == 0, rows)
        begin = self.at[rows].copy()
        longest = np.uint64(len(self._bytes))
        self._go(begin + np.minimum(size >> np.uint64(1), longest).astype(np.int64), rows)
        end = self.at[rows].copy()
        self._texts.append((self._rows[rows], begin, end))
        return begin, end

    def _json(self, limit: Json, begin: _Numbers, end: _Numbers, where: _Rows) -> None:
        opening, closing = (ord(bracket) for bracket in ("{}" if limit.opening == "{" else "[]"))
        # An empty text may be at the end of the bytes.
        self._require((end > begin) & (self._bytes[begin] == opening), where)
        empty = (end - begin == 2) & (self._bytes[np.minimum(begin + 1, len(self._bytes) - 1)] == closing)
        some = np.flatnonzero(self.right[where] & ~empty)
        rows = self._rows[where][some]
        spans = list(zip(begin[some].tolist(), end[some].tolist(), strict=True))
        for start in range(0, len(spans), _JSON_AT_ONCE):
            texts = [self._joined[a:b] for a, b in spans[start : start + _JSON_AT_ONCE]]
            if not _all_are_json(texts):
                fine = [json_fault(text, limit.opening) is None for text in texts]
                self._require(np.array(fine), rows[start : start + _JSON_AT_ONCE])

    def _check_utf8(self) -> None:
        if not self._texts:
            return
        rows, begin, end = (np.concatenate(column) for column in zip(*self._texts, strict=True))
        some = np.flatnonzero(end > begin)
        if not some.size:
            return
        bounds = np.column_stack((begin[some], end[some])).ravel()
        # Of each text, and of what is between it and the next, one byte that has every bit that one of its bytes has.
        bits = np.bitwise_or.reduceat(self._bytes, bounds)[::2]
        for number in some[bits > 0x7F].tolist():
            try:
                self._joined[begin[number] : end[number]].decode()
            except UnicodeDecodeError:
                self.right[rows[number]] = False


# The name before each of several texts that are parsed as one; no text can guess it.
_NAMES = [f"{os.urandom(8).hex()}{number}" for number in range(_JSON_AT_ONCE)]
_NAMED = [f'"{name}":'.encode() for name in _NAMES]


def _all_are_json(texts: Sequence[bytes]) -> bool:
    """Whether each text is JSON within steptrail's limits; all are parsed at once, as the values of an object.

    A text that extends beyond its end swallows the next one's name, or adds a name.
    """
    if max(map(len, texts)) > MAX_JSON_DIGITS and any(map(beyond_limits, texts)):
        return False
    named = map(bytes.__add__, _NAMED, texts)
    try:
        values = orjson.loads(b"{" + b",".join(named) + b"}")
    except ValueError:
        return False
    return list(values) == _NAMES[: len(texts)]
