"""Avro object container files around bytes that are already Avro: one header, one block."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from steptrail.schemas.wire.bundled import fingerprint, plain_schema, released_schemas
from steptrail.schemas.wire.framing import single_object_prefix
from steptrail.schemas.wire.varint import encode_long

# What follows each value in a batch; see steptrail.projections.delivery.batch.
_TRAILER_FIELDS = (
    {"name": "guard", "type": {"type": "fixed", "name": "guard_t", "size": 8}},
    {"name": "trailer", "type": {"type": "fixed", "name": "trailer_t", "size": 21}},
)


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """A schema that events were written with, as ClickHouse needs it.

    `frame` is what begins each value (10 bytes with single-object encoding, 5 with Confluent's); `columns` are
    the names of the stage's columns in the order of the bytes; `header` is the container file's header.
    """

    frame: bytes
    columns: tuple[str, ...]
    header: bytes
    sync: bytes
    whole: bool = True
    """Whether each of its fields has a column; ClickHouse skips those that have none."""


def writer_schema(
    frame: bytes, schema: Mapping[str, Any], known: Collection[str] | None = None
) -> WriterSchema:
    """The container header for values that begin with `frame` and hold a record of `schema`.

    Of its fields those in `known` have a column in the stage, by default all of them.

    The header carries a *plain* schema: enumerations as int, logical types dropped. The bytes are the same, and
    an index out of range is a number to be validated instead of a parse error.
    """
    plain = plain_schema(dict(schema))
    frame_field = {"name": "frame", "type": {"type": "fixed", "name": "frame_t", "size": len(frame)}}
    wide = {"type": "record", "name": "Staged", "fields": [frame_field, *plain["fields"], *_TRAILER_FIELDS]}
    sync = os.urandom(16)
    meta = {"avro.schema": json.dumps(wide).encode(), "avro.codec": b"null"}
    entries = b"".join(_bytes(key.encode()) + _bytes(value) for key, value in meta.items())
    header = b"Obj\x01" + encode_long(len(meta)) + entries + b"\x00" + sync
    unknown = () if known is None else tuple(f["name"] for f in plain["fields"] if f["name"] not in known)
    columns = tuple(f["name"] for f in wide["fields"] if f["name"] not in unknown)
    return WriterSchema(frame, columns, header, sync, not unknown)


@cache
def bundled_writer_schemas() -> Mapping[bytes, WriterSchema]:
    """The writer schema of every released schema, by the single-object frame that begins a value."""
    found = {}
    for schema in released_schemas().values():
        frame = single_object_prefix(fingerprint(schema))
        found[frame] = writer_schema(frame, schema)
    return found


def container(schema: WriterSchema, rows: int, size: int, parts: list[bytes]) -> bytes:
    """A container file with one block of `rows` records of together `size` bytes, given in pieces."""
    return b"".join([schema.header, encode_long(rows), encode_long(size), *parts, schema.sync])


def _bytes(value: bytes) -> bytes:
    return encode_long(len(value)) + value
