"""The time up to which the tables are complete, which every answer from them reports.

Costs two requests to Kafka (the topic, the ends of its partitions) and one query to ClickHouse (the ledger); if the
tables are behind, also the first unread record of each partition: up to its time everything is known.
"""

from __future__ import annotations

import time
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final

from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.loop.lag import peek_times
from steptrail.consumers.runtime.worker_thread import WorkerThread
from steptrail.projections.clickhouse.errors import QueryError
from steptrail.projections.clickhouse.queries import Store, ask
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.topics import Topics

PATIENCE_S: Final = 2.0
"""How long Kafka may take over all questions together."""
_STANDS_STILL_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Freshness:
    """`as_of`: everything that Kafka accepted before then is in the tables (UTC); None if unknown.

    `behind_events` are unread (None: unknown), the oldest for `behind_seconds`; `moved_at` is when the projector last
    finished a batch, by ClickHouse's clock. `problem` states what did not answer. `position` is the offset up to which
    each partition was projected (None: unknown): while it is the same, no event was added to the tables.
    """

    as_of: datetime | None = None
    behind_seconds: float | None = None
    behind_events: int | None = None
    moved_at: datetime | None = None
    problem: str | None = None
    position: tuple[tuple[int, int], ...] | None = field(default=None, compare=False, repr=False)

    def exceeds(self, seconds: float) -> bool:
        """Whether the tables are further behind than that, or it is unknown."""
        return self.behind_seconds is None or self.behind_seconds > seconds

    def as_dict(self) -> dict[str, Any]:
        """For JSON: as_of, behind_seconds, behind_events; and freshness_problem if there is one."""
        told: dict[str, Any] = {
            "as_of": self.as_of,
            "behind_seconds": self.behind_seconds,
            "behind_events": self.behind_events,
        }
        return told if self.problem is None else {**told, "freshness_problem": self.problem}

    def stands_still_since(self, now: float) -> datetime | None:
        """When the projector last made progress, if it is behind and has made none for a while."""
        if not self.behind_events or self.moved_at is None:
            return None
        return self.moved_at if now - self.moved_at.timestamp() > _STANDS_STILL_S else None


def read_freshness(settings: Settings, store: Store, *, patience: float = PATIENCE_S) -> Freshness:
    """Read the tables' current freshness; call it before the query that it describes.

    Never raises for an unavailable service: `problem` then states it, after at most `patience` seconds.
    """
    side = WorkerThread("steptrail-freshness")
    task = side.submit(lambda: _ask(settings, store, time.monotonic() + patience))
    try:
        return task.result(patience)
    except FutureTimeout:
        task.cancel()
        return Freshness(problem=f"Kafka at {settings.kafka} did not answer within {patience:g} s")
    except (InfrastructureError, QueryError) as error:
        return Freshness(problem=str(error).partition("\n")[0])
    finally:
        side.close(0.0)


def _ask(settings: Settings, store: Store, until: float) -> Freshness:
    topic = Topics(settings.topic_prefix).steps.name
    config = {**settings.kafka_config(), "log_level": 0}
    questions = BrokerQuestions(config, topic, timeout=max(0.1, until - time.monotonic()))
    description = questions.describe()
    asked = time.time()
    ends = questions.end_offsets(range(description.partitions))
    rows = ask(store, "projection_progress", {"topic": topic, "topic_id": description.topic_id})
    reached = {int(row["partition"]): int(row["reached"]) + 1 for row in rows}
    position = tuple(sorted(reached.items()))
    moved = max((row["moved_at"] for row in rows), default=None)
    moved_at = None if moved is None else moved.replace(tzinfo=timezone.utc)
    # Nothing of the partition was ever projected: all of it is unread, wherever it starts.
    behind = {p: reached.get(p, 0) for p, end in ends.items() if end > reached.get(p, 0)}
    if not behind:
        return Freshness(_utc(asked), 0.0, 0, moved_at, position=position)
    times = peek_times(config, topic, behind, timeout=max(0.2, until - time.monotonic() - 0.3))
    first = None if len(times) < len(behind) else min(times.values())
    first_offsets = questions.first_offsets([p for p in behind if p not in reached])
    events = sum(ends[p] - max(offset, first_offsets.get(p, 0)) for p, offset in behind.items())
    if not events and len(first_offsets) == len(
        behind
    ):  # the unread records have expired: nothing is left to read
        return Freshness(_utc(asked), 0.0, 0, moved_at, position=position)
    if first is None:
        return Freshness(
            behind_events=events,
            moved_at=moved_at,
            problem="the first unread event could not be read in time",
            position=position,
        )
    as_of, behind_s = _utc(min(first, asked)), round(max(0.0, time.time() - first), 3)
    return Freshness(as_of, behind_s, events, moved_at, position=position)


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
