"""The stores that a projector writes to: one, or one for each shard."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.schemas.configuration.settings import Settings


class Shards:
    """Stores of which each has its own ledger and a part of the Kafka partitions: partition % number of shards.

    Partitions belong to the first `used` of them, by default to all. Raises ValueError unless that is one at least.
    """

    def __init__(self, stores: Sequence[ClickHouse], used: int | None = None) -> None:
        self.stores = tuple(stores)
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
        for store in self.stores:
            store.close()

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect_shards(settings: Settings, *, timeout: float = 300.0) -> Shards:
    """The stores that `settings` says are written to, one in the layout `single`; nothing is sent yet."""
    return Shards(
        [
            ClickHouse(replicas[0], timeout=timeout, max_name_bytes=settings.max_name_bytes)
            for replicas in settings.clickhouse_shards()
        ]
    )
