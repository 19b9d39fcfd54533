"""What histories of the ledger are made of: a log as Kafka would hold it, the group's commits, batches."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from steptrail.projections.delivery.batch import Batch, BatchBuilder
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.delivery.sharding import ShardedProjection
from steptrail.schemas.event import StepEvent
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import frame_single_object

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

    def forget(self) -> None:
        """The group is deleted, and what it committed with it."""
        with self._lock:
            self._next.clear()

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


def make_batch(rng: random.Random, log: Log, positions: Mapping[int, int], *, limit: int) -> Batch | None:
    """A batch cut at random from what follows `positions`; None when there is nothing left. Half are `checked`."""
    builder = BatchBuilder()
    for partition, position in positions.items():
        ahead = [record for record in log[partition] if record.offset >= position]
        for record in ahead[: rng.randint(1, limit)]:
            builder.add(partition, record.offset, record.time_ms, record.value)
    checked = rng.random() < 0.5
    return replace(builder.build(), checked=checked) if builder.rows else None


def finish(
    projection: Projection | ShardedProjection, log: Log, commits: Commits, rng: random.Random, *, limit: int
) -> None:
    """An undisturbed writer takes everything over and brings the log to its end."""
    positions = commits.resume(projection.open(list(log)))
    while (batch := make_batch(rng, log, positions, limit=limit)) is not None:
        positions.update(projection.write(batch))
