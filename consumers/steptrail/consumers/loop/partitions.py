"""The state of each partition that the loop holds. Pure bookkeeping: no calls to Kafka or ClickHouse."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum

from steptrail.consumers.loop.positions import Start


class Phase(Enum):
    """The state of a held partition; it is only read while FLOWING."""

    WAITING = "to be opened by the sink"
    OPENING = "being opened"
    OPENED = "opened, to be read from its position"
    FLOWING = "being read"


@dataclass
class Held:
    """A partition assigned to this consumer.

    `generation` differs for each assignment, so that a late answer for a past assignment is recognized. `written` is
    the offset after the last written record, at which the next batch must start; None until opened. `started` is
    what `written` was then. `read_from`: in phase OPENED, the offset at which to place it.
    """

    partition: int
    generation: int
    phase: Phase = Phase.WAITING
    written: int | None = None
    started: int | None = None
    read_from: int = 0


class Partitions:
    """The held partitions.

    `positions` maps each partition whose records may be taken in to the next offset; the buffers share and advance this
    dict.
    """

    def __init__(self) -> None:
        self.held: dict[int, Held] = {}
        self.positions: dict[int, int] = {}
        self._generation = 0

    def assign(self, partitions: Iterable[int]) -> None:
        """Hold these from now on; they wait for the sink to open them."""
        self._generation += 1
        for partition in partitions:
            self.held[partition] = Held(partition, self._generation)
            self.positions.pop(partition, None)

    def forget(self, partitions: Iterable[int]) -> None:
        """Drop these: another consumer holds them now."""
        for partition in partitions:
            self.held.pop(partition, None)
            self.positions.pop(partition, None)

    def suspend(self, partitions: Iterable[int]) -> None:
        """Require these to be opened again before anything of them is written; keeps their positions."""
        for partition in partitions:
            if partition in self.held:
                self.held[partition].phase = Phase.WAITING

    def opening(self) -> dict[int, int]:
        """Mark all waiting partitions as being opened; returns partition -> generation."""
        waiting = [held for held in self.held.values() if held.phase is Phase.WAITING]
        for held in waiting:
            held.phase = Phase.OPENING
        return {held.partition: held.generation for held in waiting}

    def opened(self, start: Start, buffered_from: int | None) -> None:
        """The sink has claimed the partition. `buffered_from`: the offset of its first kept unwritten record, if
        any.
        """
        held = self.held[start.partition]
        if buffered_from is None:
            held.written = held.read_from = start.offset
        else:
            held.written, held.read_from = buffered_from, self.positions[start.partition]
        if held.started is None:
            held.started = held.written
        held.phase = Phase.OPENED
        self.positions.pop(start.partition, None)

    def rewind(self) -> None:
        """Read unwritten records again after they were dropped.

        Until a partition is placed again nothing of it is taken in: records still in flight are further on, and
        would skip the dropped ones.
        """
        self.positions.clear()
        for held in self.held.values():
            if held.phase in (Phase.OPENED, Phase.FLOWING) and held.written is not None:
                held.read_from = held.written
                held.phase = Phase.OPENED

    def to_place(self) -> dict[int, int]:
        """Partition -> offset of opened partitions that are not read yet."""
        return {h.partition: h.read_from for h in self.held.values() if h.phase is Phase.OPENED}

    def placed(self, partition: int) -> None:
        """Mark the partition as being read from its offset."""
        held = self.held[partition]
        held.phase = Phase.FLOWING
        self.positions[partition] = held.read_from

    def current(self, partition: int, generation: int) -> Held | None:
        """The held partition, if its assignment is still the same."""
        held = self.held.get(partition)
        return held if held is not None and held.generation == generation else None

    def generations(self, partitions: Collection[int]) -> dict[int, int]:
        """Partition -> generation of those among `partitions` that are held."""
        return {p: self.held[p].generation for p in partitions if p in self.held}

    def uncommitted(self, partitions: Iterable[int]) -> dict[int, int]:
        """Partition -> offset to commit, for those of `partitions` with newly written records."""
        held = [self.held[p] for p in partitions if p in self.held]
        return {h.partition: h.written for h in held if h.written is not None and h.written != h.started}

    def in_phase(self, *phases: Phase) -> list[int]:
        """The held partitions in one of these phases."""
        return [held.partition for held in self.held.values() if held.phase in phases]
