"""A message of the dead-letter topic, parsed from its headers and value."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cached_property

from confluent_kafka import Message

from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.projections.tables.dead_letters import DeadLetterRow
from steptrail.schemas.errors import EventDecodeError
from steptrail.schemas.limits import MAX_BROKER_TIME_MS
from steptrail.schemas.wire import headers as names
from steptrail.schemas.wire.decoder import decode_fields
from steptrail.schemas.wire.framing import split_frame

UNTOLD = "UNTOLD"
"""The reason of a letter that says none: somebody else put it on the topic."""

# A row is for looking at; what is longer is to be seen by `steptrail dlq show`.
_MAX_TEXT = 4096
_MAX_NAME = 1024


@dataclass(frozen=True)
class Letter:
    """One letter. `partition` and `offset` are its own place, in the dead-letter topic; the message's place before,
    in the topic that it was read from, is its `row`'s.
    """

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: names.Headers
    row: DeadLetterRow

    @cached_property
    def own_headers(self) -> names.Headers:
        """The headers that the message had before it was set aside, without how often it was sent again."""
        return [(n, v) for n, v in self.headers if n != names.RESENT and not names.is_of_dead_letters(n)]


def read_letter(message: Message, schemas: WriterSchemas) -> Letter:
    """The letter that a message of the dead-letter topic is. Never raises for what is in it."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    headers = names.header_list(message.headers())
    told = {name: _text(value, _MAX_TEXT) for name, value in headers}
    key, value = _bytes(message.key()), _bytes(message.value())
    source_partition = _int(told.get(f"{names.CONNECT}partition"), bits=31)
    source_offset = _int(told.get(f"{names.CONNECT}offset"))
    if source_partition is None or source_offset is None:
        # Not from us: its own place is the only one that it has.
        source_partition, source_offset = partition, offset
        told[f"{names.CONNECT}topic"] = message.topic() or ""
    seen = _seen(key, value, schemas)
    row = DeadLetterRow(
        topic=told.get(f"{names.CONNECT}topic", ""),
        source_topic_id=told.get(names.TOPIC_ID, ""),
        source_partition=source_partition,
        source_offset=source_offset,
        source_ms=_milliseconds(told.get(names.BROKER_TIME_MS)),
        reason=told.get(names.REASON) or UNTOLD,
        explanation=told.get(f"{names.CONNECT}exception.message", ""),
        stage=told.get(f"{names.CONNECT}stage", ""),
        exception_class=told.get(f"{names.CONNECT}exception.class.name", ""),
        position=_int(told.get(names.POSITION)),
        field=told.get(names.FIELD),
        pipeline=seen.get("pipeline", ""),
        doc_id=seen.get("doc_id", ""),
        step_name=seen.get("step_name", ""),
        event_id=seen.get("event_id"),
        value_bytes=len(value or b""),
        times_resent=names.times_resent(headers),
        consumer="/".join(
            told[n] for n in (f"{names.CONNECT}connector.name", f"{names.CONNECT}task.id") if n in told
        ),
    )
    return Letter(partition, offset, key, value, headers, row)


def _seen(key: bytes | None, value: bytes | None, schemas: WriterSchemas) -> dict[str, str]:
    """What the message is about: from its fields up to the fault, else from its key."""
    found: dict[str, str] = {}
    if key is not None and b"/" in key:
        pipeline, _, doc_id = _text(key, _MAX_TEXT).partition("/")
        found = {"pipeline": pipeline[:_MAX_NAME], "doc_id": doc_id[:_MAX_NAME]}
    try:
        frame = split_frame(value)
    except EventDecodeError:
        return found
    schema = schemas.known(frame)
    if schema is None or value is None:
        return found
    for field in decode_fields(value[frame.length :], schema, last="step_name")[0]:
        if field.name == "event_id":
            found["event_id"] = str(uuid.UUID(bytes=field.value))
        elif field.name in ("pipeline", "doc_id", "step_name"):
            found[field.name] = field.value[:_MAX_NAME]
    return found


def _text(value: bytes | None, limit: int) -> str:
    return (value or b"")[:limit].decode("utf-8", "replace")


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _int(text: str | None, bits: int = 62) -> int | None:
    try:
        number = int(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and abs(number) < 1 << bits else None


def _milliseconds(text: str | None) -> int:
    """A time that a DateTime64 holds, 1970 where there is none."""
    return min(max(_int(text) or 0, 0), MAX_BROKER_TIME_MS)
