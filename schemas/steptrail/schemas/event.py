"""The event: what happened to one step of one document, as stored on the topic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from steptrail.schemas.limits import MAX_EVENT_BYTES as MAX_EVENT_BYTES
from steptrail.schemas.limits import MAX_TIMESTAMP_US as MAX_TIMESTAMP_US
from steptrail.schemas.limits import MIN_TIMESTAMP_US as MIN_TIMESTAMP_US
from steptrail.schemas.status import ProcessingStatus

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class StepEvent:
    """One event, in the order of the Avro record. The same event has the same `event_id`, however often sent.

    `event_id`, `execution_id`: 16 bytes (UUIDv7); `emitter_id`: 8 bytes; `timestamp`: microseconds since
    the epoch, UTC; `duration_ms`: milliseconds; `details`, `metrics`: text of a JSON object; `depends_on`:
    text of a JSON array of step names.
    """

    event_id: bytes
    pipeline: str
    doc_id: str
    step_name: str
    execution_id: bytes
    attempt: int
    status: ProcessingStatus
    timestamp: int
    duration_ms: float | None
    error_type: str | None
    error_message: str | None
    details: str
    metrics: str
    depends_on: str
    trace_id: str | None
    worker: str
    emitter_id: bytes
    sequence: int

    @property
    def happened_at(self) -> datetime:
        """`timestamp` as an aware UTC datetime; raises OverflowError outside the years 1 to 9999."""
        return datetime_from_us(self.timestamp)


def datetime_from_us(microseconds: int) -> datetime:
    """Convert microseconds since the epoch to an aware UTC datetime, exactly."""
    return _EPOCH + timedelta(microseconds=microseconds)


def us_from_datetime(moment: datetime) -> int:
    """Convert an aware datetime to microseconds since the epoch, exactly; raises ValueError for a naive one."""
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValueError(
            f"a naive datetime has no place in time: {moment!r}; give it a time zone, such as UTC"
        )
    return (moment - _EPOCH) // _MICROSECOND
