"""Offsets that a projection will never have, as facts that can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from steptrail.projections.clickhouse.client import ClickHouse


@dataclass(frozen=True)
class TopicGap:
    """Offsets `first_offset` to `last_offset` of a partition, both inclusive, why they are missing, and since when."""

    partition: int
    first_offset: int
    last_offset: int
    reason: str
    noticed_at: datetime

    @property
    def offsets(self) -> int:
        """How many."""
        return self.last_offset - self.first_offset + 1


class TopicGaps:
    """The gaps of one projection of one topic. Raises InfrastructureError when the store is away."""

    def __init__(self, clickhouse: ClickHouse, *, projection: str, topic: str, topic_id: str) -> None:
        self._clickhouse = clickhouse
        self._key = {"projection": projection, "topic": topic, "topic_id": topic_id}

    def record(self, partition: int, first_offset: int, last_offset: int, reason: str) -> None:
        """Write a gap down. The same one again, or one that begins there and is longer, takes its place."""
        self._clickhouse.command(
            "INSERT INTO topic_gaps (projection_name, topic, topic_id, partition, first_offset, last_offset, reason) "
            "SELECT {projection:String}, {topic:String}, {topic_id:String}, "
            "{partition:Int32}, {first:Int64}, {last:Int64}, {reason:String}",
            {
                **self._key,
                "partition": partition,
                "first": first_offset,
                "last": last_offset,
                "reason": reason,
            },
        )

    def known(self) -> list[TopicGap]:
        """All of them, by partition and offset."""
        found = self._clickhouse.query(
            "SELECT partition, first_offset, last_offset, toString(reason), noticed_at FROM topic_gaps FINAL "
            "WHERE projection_name = {projection:String} AND topic_id = {topic_id:String} "
            "ORDER BY partition, first_offset",
            self._key,
        )
        return [TopicGap(*row) for row in found]
