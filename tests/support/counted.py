"""Events into `health_events` and what is counted from them, as the health consumer does it, without a Kafka."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from steptrail.projections.aggregates.aggregates import Aggregates, Refreshed
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.delivery.batch import BatchBuilder
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.tables.health_events import HEALTH_EVENTS
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import frame_single_object
from support.projected import Arrival

PARTITIONS = 3
TABLES = (
    "health_events",
    "projection_ledger",
    "projection_claims",
    "step_minute_rows",
    "step_metric_rows",
    "aggregate_marks",
    "error_group_minutes",
    "error_group_hours",
    "error_group_actions",
    "error_group_rules",
)


class Consumer:
    """What the health consumer does with its batches, without a Kafka: write them, then refresh."""

    def __init__(self, clickhouse: ClickHouse, *, topic: str = "made-up", **more: Any) -> None:
        self.projection = Projection(clickhouse, HEALTH_EVENTS, topic=topic, topic_id=topic)
        self.next = self.projection.open(range(PARTITIONS))
        self.aggregates = Aggregates(clickhouse, topic_id=topic, **more)

    def write(self, log: Sequence[tuple[int, Arrival]]) -> tuple[int, int, dict[int, int]]:
        """One batch of (partition, arrival) in the order of the log; what `Aggregates.refresh` is told of it."""
        builder = BatchBuilder()
        for partition, (what, broker_us) in log:
            builder.add(
                partition, self.next[partition], broker_us // 1000, frame_single_object(encode_event(what))
            )
            self.next[partition] += 1
        batch = builder.build()
        return batch.first_time_ms, batch.last_time_ms, self.projection.write(batch)

    def count(self, log: Sequence[tuple[int, Arrival]]) -> Refreshed:
        """One batch, counted at once."""
        told = self.write(log)
        return self.aggregates.refresh(*told) or self.aggregates.count_now()


def empty(clickhouse: ClickHouse) -> None:
    """Forget all events and all that was counted or decided."""
    for table in TABLES:
        clickhouse.command(f"TRUNCATE TABLE {table}")
