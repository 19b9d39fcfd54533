"""Minutes and error groups, kept up with `health_events`: what has come is found, and its minutes are counted anew.

What is yet to be counted follows from the data alone: the offsets between `aggregate_marks` and the ledger's
high-water. The marks are written last, so a consumer that dies at any point leaves nothing behind that its successor
does not find, and counting something twice gives the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from steptrail.projections.aggregates.error_group_counts import TEMPLATES_OF_A_MINUTE
from steptrail.projections.aggregates.touched import Touched, count_errors, count_steps
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import QueryError, SchemaMismatch, StoreRefused
from steptrail.projections.tables.health_events import HEALTH_EVENTS

_MISSING: Final = frozenset({16, 47, 60, 81})  # no such column, unknown identifier, table, database

Place = tuple[str, int]
"""Topic id and partition."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What one refresh counted: minutes of steps, minutes of errors among them, and the seconds that it took."""

    minutes: int
    error_minutes: int
    seconds: float


class Aggregates:
    """Keeps `step_minutes`, `step_metrics` and the error groups up to date; one writer thread owns it.

    `refresh` is to be called after every batch, and now and then when nothing comes; it does something when it
    is due: `every_s` seconds after the last time, or six times what that took, so that it takes a seventh of the
    time at most however many events a minute has. `topic_id` is that of the steps topic.

    Every method that counts raises InfrastructureError when the store is away; what was to be counted then stays
    to be counted at the next call.
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        *,
        topic_id: str,
        every_s: float = 5.0,
        templates_of_a_minute: int = TEMPLATES_OF_A_MINUTE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clickhouse = clickhouse
        self._topic_id = topic_id
        self._every_s = every_s
        self._templates = templates_of_a_minute
        self._clock = clock
        self._due = clock()
        self._marks: dict[Place, int] | None = None
        self._reached: dict[Place, int] = {}
        self._span: tuple[int, int] | None = None

    def refresh(self, first_ms: int, last_ms: int, reached: Mapping[int, int]) -> Refreshed | None:
        """Take note of a batch that is in `health_events`, and count what is yet to be counted if that is due.

        `first_ms` and `last_ms` are its least and greatest broker time, `reached` the offset after its last one
        by partition, as `Projection.write` returns it. None when nothing was due.
        """
        begin, end = self._span or (first_ms, last_ms)
        self._span = min(begin, first_ms), max(end, last_ms)
        for partition, following in reached.items():
            place = (self._topic_id, partition)
            self._reached[place] = max(following - 1, self._reached.get(place, -1))
        return self.count_if_due()

    def count_if_due(self) -> Refreshed | None:
        """Count what is yet to be counted if that is due: for when no batch comes."""
        if self._clock() < self._due or (self._marks is not None and self._span is None):
            return None
        return self.count_now()

    def count_now(self) -> Refreshed:
        """Count all that is yet to be counted, due or not."""
        begun = self._clock()
        try:
            minutes, error_minutes = self._count()
        except QueryError as error:
            self._due = self._clock() + self._every_s
            if error.code in _MISSING:
                raise SchemaMismatch(
                    f"{error}: the tables are not those of this program; run `steptrail migrate`"
                ) from error
            raise StoreRefused(
                f"minutes and error groups cannot be counted: {error}", code=error.code, name=error.name
            ) from error
        took = self._clock() - begun
        self._due = begun + took + max(self._every_s, 6 * took)
        return Refreshed(minutes, error_minutes, took)

    def _count(self) -> tuple[int, int]:
        # Read before any event is: a row's version promises events that its count has.
        high_water = self._high_water()
        version = sum(offset + 1 for offset in high_water.values())
        if self._marks is None:
            marks, reached, span = self._stored_marks(), high_water, None
        else:
            marks, reached, span = self._marks, dict(self._reached), self._span
        ahead = {
            place: (marks.get(place, -1), to) for place, to in reached.items() if to > marks.get(place, -1)
        }
        touched = self._touched(ahead, span) if ahead else []
        with_errors = [one for one in touched if one.errors]
        count_steps(self._clickhouse, touched, version)
        count_errors(self._clickhouse, with_errors, version, most=self._templates)
        self._write_marks({place: to for place, (_, to) in ahead.items()})
        self._marks = {**marks, **{place: to for place, (_, to) in ahead.items()}}
        self._span = None
        return len(touched), len(with_errors)

    def _high_water(self) -> dict[Place, int]:
        found = self._clickhouse.query(
            "SELECT topic_id, partition, max(last_offset) FROM projection_ledger "
            "WHERE projection_name = {projection:String} GROUP BY topic_id, partition",
            {"projection": HEALTH_EVENTS.name},
        )
        return {(topic_id, partition): last for topic_id, partition, last in found}

    def _stored_marks(self) -> dict[Place, int]:
        found = self._clickhouse.query(
            "SELECT topic_id, partition, max(counted_to) FROM aggregate_marks GROUP BY topic_id, partition"
        )
        return {(topic_id, partition): last for topic_id, partition, last in found}

    def _write_marks(self, marks: Mapping[Place, int]) -> None:
        topics = sorted({topic_id for topic_id, _ in marks})
        for topic_id in topics:
            rows = ", ".join(f"({part}, {to})" for (topic, part), to in marks.items() if topic == topic_id)
            self._clickhouse.command(
                "INSERT INTO aggregate_marks (topic_id, partition, counted_to) "
                f"SELECT {{topic_id:String}}, t.1, t.2 FROM (SELECT arrayJoin([{rows}]) AS t)",
                {"topic_id": topic_id},
            )

    def _touched(self, ahead: Mapping[Place, tuple[int, int]], span: tuple[int, int] | None) -> list[Touched]:
        """The minutes of the events behind the marks, in order. `span` is where they lie; None: anywhere."""
        topics = sorted({topic_id for topic_id, _ in ahead})
        places = " OR ".join(
            f"(topic_id = {{topic_{topics.index(topic_id)}:String}} AND kafka_partition = {part} "
            f"AND kafka_offset > {after} AND kafka_offset <= {to})"
            for (topic_id, part), (after, to) in ahead.items()
        )
        within = (
            "1"
            if span is None
            else f"broker_time BETWEEN fromUnixTimestamp64Milli({span[0]}, 'UTC') "
            f"AND fromUnixTimestamp64Milli({span[1]}, 'UTC')"
        )
        found = self._clickhouse.query(
            "SELECT toUnixTimestamp(toStartOfMinute(broker_time)) AS minute, uniqExact(pipeline, step_name), "
            "countIf(status IN ('ERROR', 'FAILED')) "
            f"FROM health_events WHERE {within} AND ({places}) GROUP BY minute ORDER BY minute",
            {f"topic_{number}": topic_id for number, topic_id in enumerate(topics)},
        )
        return [Touched(int(begin), int(steps), int(errors)) for begin, steps, errors in found]
