"""The interface to which the consume loop writes batches, and the tasks of its writer."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from steptrail.consumers.loop.buffer import ConsumedBatch
from steptrail.consumers.loop.positions import Start


class Sink(Protocol):
    """The destination of batches. All methods are called from one thread, one at a time, and may block.

    Each raises InfrastructureError for transient faults. After one, `open` is called again for all held partitions
    before the next `write`.
    """

    def prepare(self) -> None:
        """Do what `open` needs and what does not depend on partitions, while the group lets the member in.

        May do nothing; `open` reports what went wrong.
        """
        ...

    def open(self, partitions: Collection[int]) -> dict[int, Start]:
        """Claim these partitions; returns where to resume in each that was won."""
        ...

    def write(self, batch: ConsumedBatch) -> dict[int, int]:
        """Write the batch; returns partition -> offset to commit, for the partitions whose claim still holds."""
        ...

    def release(self, partitions: Collection[int]) -> None:
        """Drop these partitions: another consumer has them now."""
        ...


@dataclass(frozen=True)
class Opening:
    """A task of the writer: opening partitions, each with the generation of its assignment."""

    future: Future[dict[int, Start]]
    generations: dict[int, int]


@dataclass(frozen=True)
class Writing:
    """A task of the writer: writing a batch."""

    future: Future[dict[int, int]]
    generations: dict[int, int]
    batch: ConsumedBatch
    began: float
