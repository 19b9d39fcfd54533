"""Random histories for the ledger: several writers, one log, and everything that can go wrong between them.

A history is drawn from one seed: how the log looks, who writes when, where each batch is cut, and at which
statement a writer crashes, loses a reply, freezes or is slow. Writers run in threads of their own, so that
races are real. The engine and HTTP are real too; only Kafka is a list.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from steptrail.projections.batch import Batch, BatchBuilder
from steptrail.projections.clickhouse import ClickHouse
from steptrail.projections.errors import StoreUnavailable
from steptrail.projections.projection import Projection
from steptrail.schemas.codec import encode_event
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.event import StepEvent
from steptrail.schemas.framing import frame_single_object
from steptrail.schemas.settings import ClickHouseTarget
from steptrail.schemas.status import ProcessingStatus

MONTH_MS = 31 * 24 * 3600 * 1000
STATUSES = list(ProcessingStatus)


class Crash(BaseException):
    """The writer dies here: nothing of it runs any more."""


@dataclass(frozen=True)
class Record:
    """One record of the log: offset, broker time in ms, value."""

    offset: int
    time_ms: int
    value: bytes


Log = dict[int, list[Record]]


class Commits:
    """The group's committed offsets. Like a consumer, a writer reads on from the greater of this and the ledger."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: dict[int, int] = {}

    def commit(self, done: Mapping[int, int]) -> None:
        """Take what a write said may be committed."""
        with self._lock:
            for partition, offset in done.items():
                self._next[partition] = max(offset, self._next.get(partition, 0))

    def resume(self, projected: Mapping[int, int]) -> dict[int, int]:
        """Where to read on, given where the ledger stands."""
        with self._lock:
            return {
                partition: max(offset, self._next.get(partition, 0))
                for partition, offset in projected.items()
            }


def make_log(rng: random.Random, *, partitions: int, records: int) -> Log:
    """A log with holes in its offsets and broker times that span table partitions (months) and go back at times."""
    log: Log = {}
    emitter = rng.randbytes(8)
    sequence = 0
    for partition in range(partitions):
        offset = rng.choice([0, 0, 5])
        time_ms = 1_767_000_000_000 + rng.randrange(MONTH_MS)
        log[partition] = []
        for _ in range(records):
            document = f"doc-{partition}-{rng.randrange(4)}"
            event = StepEvent(
                event_id=rng.randbytes(16),
                pipeline="histories",
                doc_id=document,
                step_name=rng.choice(["read", "parse"]),
                execution_id=uuid.UUID(int=rng.randrange(3) + 1).bytes,
                attempt=1,
                status=rng.choice(STATUSES),
                timestamp=time_ms * 1000 + rng.randrange(-5_000_000, 5_000_000),
                duration_ms=None,
                error_type=None,
                error_message=None,
                details="{}",
                metrics="{}",
                depends_on="[]",
                trace_id=None,
                worker="histories:1",
                emitter_id=emitter,
                sequence=sequence,
            )
            sequence += 1
            log[partition].append(Record(offset, time_ms, frame_single_object(encode_event(event))))
            offset += rng.choice([1, 1, 1, 2, 3])
            time_ms += rng.choice([0, 1, 50, -20, MONTH_MS // 20])
    return log


@dataclass
class Faults:
    """What goes wrong at a writer's statements, drawn as they come. Rates are per statement that writes."""

    rng: random.Random
    rate: float
    injected: dict[str, int] = field(default_factory=dict)

    def draw(self) -> str:
        """One of none, before, lost, freeze, slow, crash_before, crash_after."""
        if self.rng.random() >= self.rate:
            return "none"
        kind = self.rng.choice(["before", "lost", "freeze", "slow", "slow", "crash_before", "crash_after"])
        self.injected[kind] = self.injected.get(kind, 0) + 1
        return kind


class FaultyClickHouse(ClickHouse):
    """A connection that fails as the world does: before a statement, after it, while it runs."""

    def __init__(self, target: ClickHouseTarget, faults: Faults) -> None:
        super().__init__(target)
        self._faults = faults

    def command(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        data: bytes | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Run the statement with whatever was drawn for it."""
        writes = "log_comment" in (settings or {})
        kind = self._faults.draw() if writes else "none"
        if kind == "before":
            raise StoreUnavailable("the connection was cut before the statement")
        if kind == "crash_before":
            raise Crash
        if kind == "freeze":  # a zombie: others take over meanwhile, then it goes on
            time.sleep(self._faults.rng.uniform(0.02, 0.3))
        if kind == "slow" and " WHERE " in sql:
            # after the claims were looked at, while rows flow: the statement goes on for a while
            sql = sql.replace(
                " WHERE ", f" WHERE sleep({self._faults.rng.uniform(0.05, 0.4):.3f}) = 0 AND ", 1
            )
        super().command(sql, parameters, data=data, settings=settings)
        if kind == "lost":
            raise StoreUnavailable("the reply was lost")
        if kind == "crash_after":
            raise Crash


def make_batch(rng: random.Random, log: Log, positions: Mapping[int, int], *, limit: int) -> Batch | None:
    """A batch cut at random from what follows `positions`; None when there is nothing left."""
    builder = BatchBuilder()
    for partition, position in positions.items():
        ahead = [record for record in log[partition] if record.offset >= position]
        for record in ahead[: rng.randint(1, limit)]:
            builder.add(partition, record.offset, record.time_ms, record.value)
    return builder.build() if builder.rows else None


class Writer(threading.Thread):
    """A consumer without Kafka: claims what it believes it owns, writes batches, crashes, is replaced by itself."""

    def __init__(
        self,
        make_projection: Callable[[], Projection],
        rng: random.Random,
        log: Log,
        commits: Commits,
        *,
        batches: int,
        limit: int,
    ) -> None:
        super().__init__(daemon=True)
        self._make_projection = make_projection
        self._rng = rng
        self._log = log
        self._commits = commits
        self._batches = batches
        self._limit = limit
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Write, with crashes and rebalances in between; an unexpected error is kept for the test."""
        try:
            for _ in range(self._batches):
                try:
                    self._live()
                except (InfrastructureError, Crash):
                    continue  # a new process takes the place of the dead one
        except BaseException as error:
            self.failure = error

    def _live(self) -> None:
        projection = self._make_projection()
        mine = [p for p in self._log if self._rng.random() < 0.7] or [self._rng.choice(list(self._log))]
        positions = self._commits.resume(projection.open(mine))
        for _ in range(self._rng.randint(1, 4)):
            held = {p: position for p, position in positions.items() if p in projection.held}
            batch = make_batch(self._rng, self._log, held, limit=self._limit) if held else None
            if batch is None:
                return
            done = projection.write(batch)
            self._commits.commit(done)
            positions.update(done)
            if self._rng.random() < 0.2:
                time.sleep(self._rng.uniform(0, 0.05))


def finish(projection: Projection, log: Log, commits: Commits, rng: random.Random, *, limit: int) -> None:
    """An undisturbed writer takes everything over and brings the log to its end."""
    positions = commits.resume(projection.open(list(log)))
    while (batch := make_batch(rng, log, positions, limit=limit)) is not None:
        positions.update(projection.write(batch))
