"""Who wants to know how far a consume loop is, besides its monitor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from steptrail.consumers.loop.buffer import ConsumedBatch


class LoopObserver(Protocol):
    """Called by the loop's thread; must neither block nor raise."""

    def batch_written(self, batch: ConsumedBatch, partitions: frozenset[int]) -> None:
        """The sink has written `batch`, for those of its partitions that it still possessed."""
        ...

    def reached_end(self, partition: int, position: int, end: int) -> None:
        """All of a partition is read up to its `end`; `position` is the offset after its last record."""
        ...

    def stands_at(self, written: Mapping[int, int]) -> None:
        """Every turn: the offset after the last one that is written, by held partition."""
        ...
