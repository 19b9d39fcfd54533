"""The Native format for a client that names a protocol revision (`client_protocol_version`).

The engine writes Native for revision 0 alone. A client that names one expects in front of each block its info,
and from revision 54454 on a mark of the serialization behind each column's type. The engine's format Buffers gives
each column's bytes with their length; the names and types come from DESCRIBE.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from steptrail.schemas.wire.varint import encode_unsigned

Columns = Sequence[tuple[str, str]]

CUSTOM_SERIALIZATION = 54454
"""From this revision on each column has a mark: 0, the type's own serialization."""
# Field 1: not an overflow row; field 2: bucket -1, of no two-level aggregation; 0 ends it.
BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"
_SIZES = struct.Struct("<QQ")
_SIZE = struct.Struct("<Q")


def blocks(buffers: bytes, columns: Columns, revision: int) -> Iterator[bytes]:
    """Give the blocks of a text in the format Buffers as Native of that revision, in pieces that follow each other."""
    position = 0
    while position < len(buffers):
        count, rows = _SIZES.unpack_from(buffers, position)
        position += _SIZES.size
        if count != len(columns):
            raise ValueError(f"{count} columns came where {len(columns)} were told")
        yield _head(count, rows, revision)
        for column in columns:
            (size,) = _SIZE.unpack_from(buffers, position)
            position += _SIZE.size
            yield _column(column, revision)
            yield buffers[position : position + size]
            position += size


def header(columns: Columns, revision: int) -> bytes:
    """Return a block of no rows: what a server sends for an empty result, for which the engine gives no bytes."""
    return _head(len(columns), 0, revision) + b"".join(_column(column, revision) for column in columns)


def rows_of_block(block: bytes) -> int:
    """Return the number of rows that the first block of revision 0 says it has; -1 where there is none."""
    if not block:
        return -1
    _, position = _read_varint(block, 0)
    return _read_varint(block, position)[0]


def _head(columns: int, rows: int, revision: int) -> bytes:
    return (BLOCK_INFO if revision else b"") + encode_unsigned(columns) + encode_unsigned(rows)


def _column(column: tuple[str, str], revision: int) -> bytes:
    return _text(column[0]) + _text(column[1]) + (b"\x00" if revision >= CUSTOM_SERIALIZATION else b"")


def _text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogateescape")
    return encode_unsigned(len(encoded)) + encoded


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
