"""Kafka messages and buffers for tests of the consumers, made without a broker."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Message

from steptrail.consumers.loop.buffer import Buffer, ConsumedBatch
from steptrail.projections.delivery.batch import BatchBuilder
from steptrail.schemas.event import StepEvent
from steptrail.schemas.ids import uuid7
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import frame_single_object

_EVENT = object()
TIME_MS = 1_760_000_000_000


def event(**values: Any) -> StepEvent:
    """A step event that is in order, but for what is given."""
    given = {
        "event_id": uuid7(),
        "pipeline": "default",
        "doc_id": "doc-1",
        "step_name": "extract",
        "execution_id": uuid7(),
        "attempt": 1,
        "status": ProcessingStatus.SUCCESS,
        "timestamp": TIME_MS * 1000,
        "duration_ms": 12.5,
        "error_type": None,
        "error_message": None,
        "details": "{}",
        "metrics": "{}",
        "depends_on": "[]",
        "trace_id": None,
        "worker": "host:1",
        "emitter_id": b"emitter1",
        "sequence": 0,
    }
    return StepEvent(**{**given, **values})


def event_value(**values: Any) -> bytes:
    """The Kafka value of such an event."""
    return frame_single_object(encode_event(event(**values)))


def message(partition: int, offset: int, value: Any = _EVENT, **values: Any) -> Message:
    """A consumed message."""
    return Message(
        topic="steps",
        partition=partition,
        offset=offset,
        key=b"default/doc-1",
        value=event_value() if value is _EVENT else value,
        timestamp=(2, TIME_MS + offset),
        **values,
    )


def buffer_of(positions: dict[int, int]) -> Buffer:
    return Buffer(BatchBuilder, positions)


def batch_of(*messages: Message, **starts: int) -> ConsumedBatch:
    """A batch of these messages, each partition starting at its first one's offset."""
    positions: dict[int, int] = {}
    for given in messages:
        partition, offset = given.partition(), given.offset()
        assert partition is not None
        assert offset is not None
        positions.setdefault(partition, offset)
    buffer = buffer_of(positions)
    buffer.extend(messages, now=0.0)
    return buffer.close()
