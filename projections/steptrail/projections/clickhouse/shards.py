"""The stores that a projector writes to: one, or one for each shard."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.schemas.configuration.clickhouse_settings import REPLICATED
from steptrail.schemas.configuration.settings import Settings


class Shards:
    """Stores of which each has its own ledger and a part of the Kafka partitions: partition % number of shards.

    Partitions belong to the first `used` of them, by default to all. Raises ValueError unless that is one at least.
    """

    def __init__(
        self,
        stores: Sequence[ClickHouse],
        used: int | None = None,
        *,
        replicas: Sequence[Sequence[ClickHouse]] = (),
    ) -> None:
        """`replicas` are those of each shard, the store among them; none where stores have no replicas."""
        self.stores = tuple(stores)
        self.replicas = tuple(map(tuple, replicas))
        self.used = len(self.stores) if used is None else used
        if not 1 <= self.used <= len(self.stores):
            raise ValueError(f"partitions cannot be in {self.used} of {len(self.stores)} shards")

    def of(self, partition: int) -> int:
        """The number of the shard that a Kafka partition belongs to."""
        return partition % self.used

    def divide(self, partitions: Collection[int]) -> dict[int, list[int]]:
        """Shard -> its partitions among these, in order; shards without any are left out."""
        divided: dict[int, list[int]] = {}
        for partition in sorted(partitions):
            divided.setdefault(self.of(partition), []).append(partition)
        return divided

    def close(self) -> None:
        """Close the connections."""
        for store in (*self.stores, *(each for shard in self.replicas for each in shard)):
            store.close()

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect_shards(settings: Settings, *, timeout: float = 300.0) -> Shards:
    """The stores that `settings` says are written to, one in the layout `single`; nothing is sent yet."""
    replicas = [
        [
            ClickHouse(
                target,
                timeout=timeout,
                max_name_bytes=settings.max_name_bytes,
                settings=quorum_settings(len(targets)) if len(targets) > 1 else None,
            )
            for target in targets
        ]
        for targets in settings.clickhouse_shards()
    ]
    several = settings.clickhouse_layout in REPLICATED
    return Shards([shard[0] for shard in replicas], replicas=replicas if several else ())


def quorum_settings(replicas: int) -> Mapping[str, Any]:
    """What every statement of a writer needs where a shard has that many replicas.

    An insert ends when a majority has it. It is one part of one session with Keeper: `insert_quorum_parallel=0` would
    make others fail meanwhile, and must never be mixed with it. A truncated set in a guard would write rows twice.
    In KeeperMap's strict mode a claim could not take the place of the one before.
    """
    return {
        "insert_quorum": replicas // 2 + 1,
        "insert_quorum_parallel": 1,
        "insert_quorum_timeout": 30_000,
        "select_sequential_consistency": 0,
        "keeper_map_strict_mode": 0,
        "enable_parallel_replicas": 0,
        **dict.fromkeys(("set_overflow_mode", "join_overflow_mode", "group_by_overflow_mode"), "throw"),
    }
