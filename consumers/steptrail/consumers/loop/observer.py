"""The interface for observers of a consume loop's progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from steptrail.consumers.loop.buffer import ConsumedBatch


class LoopObserver(Protocol):
    """Called by the loop's thread; must neither block nor raise."""

    def batch_written(self, batch: ConsumedBatch, partitions: frozenset[int]) -> None:
        """The sink has written `batch`, for those of its `partitions` whose claims still hold."""
        ...

    def reached_end(self, partition: int, position: int, end: int) -> None:
        """A partition was read up to its `end`; `position` is the offset after its last record."""
        ...

    def stands_at(self, written: Mapping[int, int]) -> None:
        """Called every turn with the offset after the last written record, by held partition."""
        ...
