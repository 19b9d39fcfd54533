"""Events straight into the tables, by the real projection but without a Kafka between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.delivery.batch import BatchBuilder
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.reading.reader import Reader
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.event import StepEvent
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import frame_single_object

Arrival = tuple[StepEvent, int]
"""An event and the microsecond at which the broker had it."""

T0 = 1_750_000_000_000_000
"""2025-06-15T15:06:40Z in microseconds."""

_numbers = count(1)


def event(
    status: ProcessingStatus = ProcessingStatus.SUCCESS, time: int = 0, *, execution: int = 1, **more: object
) -> StepEvent:
    """An event `time` microseconds after T0 with a fresh id, which grows; `more` sets any field."""
    number = next(_numbers)
    values: dict[str, object] = {
        "event_id": (T0 // 1000 << 80 | 7 << 76 | number).to_bytes(16, "big"),
        "pipeline": "p",
        "doc_id": "d",
        "step_name": "parse",
        "execution_id": execution.to_bytes(16, "big"),
        "attempt": 1,
        "status": status,
        "timestamp": T0 + time,
        "duration_ms": None,
        "error_type": None,
        "error_message": None,
        "details": "{}",
        "metrics": "{}",
        "depends_on": "[]",
        "trace_id": None,
        "worker": "host:1",
        "emitter_id": bytes(8),
        "sequence": number,
        **more,
    }
    return StepEvent(**values)  # type: ignore[arg-type]


class Tables:
    """The tables of a workspace, written to as the projector does it, and a reader of them."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self.clickhouse = clickhouse
        self.reader = Reader(clickhouse)
        self._projection = Projection(clickhouse, STEP_EVENTS, topic="made-up", topic_id="made-up-id")
        self._next = self._projection.open([0])[0]

    def write(self, events: Iterable[StepEvent | Arrival]) -> None:
        """One batch; an event alone reached the broker in its own millisecond."""
        builder = BatchBuilder()
        for one in events:
            what, broker_us = one if isinstance(one, tuple) else (one, one.timestamp)
            builder.add(0, self._next, -(-broker_us // 1000), frame_single_object(encode_event(what)))
            self._next += 1
        assert self._projection.write(builder.build()) == {0: self._next}

    def merge(self) -> None:
        """Merge every table to the end."""
        for table in ("steps", "step_executions"):
            self.clickhouse.command(f"OPTIMIZE TABLE {table} FINAL")

    def explain(self, sql: str, parameters: dict[str, object], settings: Sequence[str] = ()) -> str:
        """How the store would run a statement, with the granules that it would read."""
        return "\n".join(line for (line,) in self.clickhouse.query(f"EXPLAIN indexes = 1 {sql}", parameters))
