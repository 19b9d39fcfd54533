"""Projections over several shards: each partition in the shard it belongs to, under that shard's ledger.

A shard is what a single store is: its ledger, its claims and its tables prove each other, and nothing is proven across
shards but this: **a partition is open in one shard at most**. A claim whose epoch ends in `ledger.CLOSED` closes it in
the others. Whoever opens a partition

1. claims it in its shard, which fails where it is closed;
2. then looks in all other shards: where nobody ever claimed it, it is closed; where it is open, nothing is written.

Two who place a partition differently, in whatever order their steps meet, cannot both pass: each claims before it
looks. Where a partition is, `handover` alone changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from functools import partial
from typing import TypeAlias

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.concurrency import together
from steptrail.projections.clickhouse.errors import BatchRejected, ClaimLost, PartitionMoved
from steptrail.projections.clickhouse.shards import Shards
from steptrail.projections.delivery.batch import Batch
from steptrail.projections.delivery.ledger import Ledger
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.delivery.replicas import ReplicatedProjection
from steptrail.projections.delivery.spec import ProjectionSpec
from steptrail.projections.delivery.staging import FailingRows, SetAside
from steptrail.schemas.errors import InfrastructureError


class ShardedProjection:
    """Does for several shards what `Projection` does for one store; it raises what that raises."""

    def __init__(self, shards: Shards, spec: ProjectionSpec, *, topic: str, topic_id: str) -> None:
        self._shards = shards
        self._topic = topic
        self._projections = [
            ReplicatedProjection(shards.replicas[number], spec, topic=topic, topic_id=topic_id)
            if shards.replicas
            else Projection(store, spec, topic=topic, topic_id=topic_id)
            for number, store in enumerate(shards.stores)
        ]
        self._ledgers = [
            Ledger(store, projection=spec.name, topic=topic, topic_id=topic_id) for store in shards.stores
        ]

    @property
    def held(self) -> frozenset[int]:
        """The partitions that are claimed, as far as is known."""
        return frozenset().union(*(each.held for each in self._projections))

    def prepare(self, *, accept_recreated: bool = False) -> None:
        """Check the tables of every shard before anything is claimed."""
        for each in self._projections:
            each.prepare(accept_recreated=accept_recreated)

    def has_predecessor(self) -> bool:
        """Whether some shard knows another topic of this name."""
        return any(each.has_predecessor() for each in self._projections)

    def record_gap(self, partition: int, first_offset: int, last_offset: int, reason: str) -> None:
        """Write down, in the partition's shard, that these offsets will never be projected."""
        self._of(partition).record_gap(partition, first_offset, last_offset, reason)

    def open(self, partitions: Collection[int]) -> dict[int, int]:
        """Claim `partitions`, each in its shard, and return where to read on in those that were won.

        Raises PartitionMoved, with nothing written, for a partition that is open in another shard.
        """
        starts: dict[int, int] = {}
        for shard, mine in self._shards.divide(partitions).items():
            won = self._projections[shard].open(mine)
            try:
                self._require_closed_elsewhere(shard, won)
            except Exception:
                self._projections[shard].release(mine)
                raise
            starts.update(won)
        return starts

    def release(self, partitions: Collection[int]) -> None:
        """Forget the claims on `partitions`."""
        for shard, mine in self._shards.divide(partitions).items():
            self._projections[shard].release(mine)

    def write(self, batch: Batch, set_aside: SetAside | None = None) -> dict[int, int]:
        """Project `batch`, all shards side by side; returns partition -> next offset to commit.

        When one shard rejects its part, or is away, the others' parts may have been written: written again, they are
        left out, as after any error.
        """
        pieces = batch.divided(self._shards.of)
        held = {
            shard: piece
            for shard, piece in pieces.items()
            if self._projections[shard].held & set(piece.spans)
        }
        if not held:
            raise ClaimLost(f"partitions {batch.partitions} are not claimed: open them first")
        aside = set_aside and _one_at_a_time(set_aside)
        done: dict[int, int] = {}
        rejected: list[BatchRejected] = []

        def write(shard: int) -> None:
            try:
                done.update(self._projections[shard].write(held[shard], aside))
            except BatchRejected as rejection:
                rejected.append(rejection)  # of less weight than a fault of the infrastructure elsewhere

        together(partial(write, shard) for shard in sorted(held))
        if rejected:
            raise rejected[0]
        return dict(sorted(done.items()))

    def _of(self, partition: int) -> Projection | ReplicatedProjection:
        return self._projections[self._shards.of(partition)]

    def _current_ledger(self, number: int) -> Ledger:
        """A shard's ledger whose claims are read as they are now: of replicas, through the first that answers."""
        ledger = self._ledgers[number]
        if not self._shards.replicas:
            return ledger
        *first, last = self._shards.replicas[number]
        for replica in first:
            try:
                ledger.at(replica).touch()
            except InfrastructureError:
                continue
            return ledger.at(replica)
        ledger.at(last).touch()
        return ledger.at(last)

    def _require_closed_elsewhere(self, shard: int, partitions: Collection[int]) -> None:
        for number in range(len(self._shards.stores)):
            if number == shard or not partitions:
                continue
            ledger = self._current_ledger(number)
            open_there = sorted(
                part for part, claim in ledger.greatest(partitions).items() if not claim.closes
            )
            if open_there:
                there, here = self._shards.stores[number], self._shards.stores[shard]
                raise PartitionMoved(
                    f"partitions {', '.join(map(str, open_there))} of {self._topic} are in shard {number} "
                    f"({there.address}), but with {len(self._shards.stores)} shards in this order they belong to shard "
                    f"{shard} ({here.address}). Nothing was written. Run `steptrail shards --hand-over --yes`, or set "
                    "STEPTRAIL_CLICKHOUSE_SERVERS as it was"
                )
            ledger.close_unclaimed(partitions)


AnyProjection: TypeAlias = "Projection | ReplicatedProjection | ShardedProjection"


def _one_at_a_time(set_aside: SetAside) -> Callable[[FailingRows], None]:
    """The same for several threads."""
    lock = threading.Lock()

    def locked(rows: FailingRows) -> None:
        with lock:
            set_aside(rows)

    return locked


def new_projection(
    store: ClickHouse | Shards, spec: ProjectionSpec, *, topic: str, topic_id: str
) -> AnyProjection:
    """The projection into these shards; into a single one it is that of its store, or of its replicas."""
    shards = store if isinstance(store, Shards) else Shards([store])
    only, *others = shards.stores
    if others:
        return ShardedProjection(shards, spec, topic=topic, topic_id=topic_id)
    for replicas in shards.replicas:
        return ReplicatedProjection(replicas, spec, topic=topic, topic_id=topic_id)
    return Projection(only, spec, topic=topic, topic_id=topic_id)
