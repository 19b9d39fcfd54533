"""Time is cut into 5-second slots by the broker's time; the rule is given those that are complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from steptrail.consumers.health.rules.baseline import SLOT_S
from steptrail.consumers.health.rules.losses import Losses
from steptrail.consumers.health.rules.thresholds import Measured

StepKey: TypeAlias = tuple[str, str]
"""(pipeline, step)"""


@dataclass
class StepCounts:
    """What happened to one step in one slot, each event counted once.

    `started`: executions whose first event, PENDING apart, is RUNNING; `succeeded`, `warned`, `failed` (ERROR and
    FAILED), `skipped`: endings. `durations`: bin (see `sketch.bin_of`) -> successful endings with a duration.
    `measured`: (measure, bound, below) of a threshold -> what the slot says to it.
    """

    started: int = 0
    succeeded: int = 0
    warned: int = 0
    failed: int = 0
    skipped: int = 0
    durations: dict[int, int] = field(default_factory=dict)
    measured: dict[tuple[str, float, bool], Measured] = field(default_factory=dict)

    def add(self, other: StepCounts) -> None:
        """Merge another part of the same slot, from another batch or partition."""
        self.started += other.started
        self.succeeded += other.succeeded
        self.warned += other.warned
        self.failed += other.failed
        self.skipped += other.skipped
        for number, count in other.durations.items():
            self.durations[number] = self.durations.get(number, 0) + count
        for bound, measured in other.measured.items():
            mine = self.measured.get(bound, Measured())
            self.measured[bound] = Measured(mine.count + measured.count, mine.beyond + measured.beyond)

    @property
    def events(self) -> int:
        """Signs of life."""
        return self.started + self.succeeded + self.warned + self.failed + self.skipped


@dataclass
class Slot:
    """One slot: `number` is its begin in seconds since the epoch / 5. Steps that did nothing are not in it."""

    number: int
    steps: dict[StepKey, StepCounts] = field(default_factory=dict)
    losses: dict[str, Losses] = field(default_factory=dict)

    @property
    def ends_at(self) -> int:
        """Seconds since the epoch."""
        return (self.number + 1) * SLOT_S


def slot_of(time: float) -> int:
    """The number of the slot that `time` (seconds since the epoch) lies in."""
    return int(time // SLOT_S)


class SlotBuffer:
    """Slots that are still open; hands them out in order, one by one without gaps, once they are complete.

    What arrives for a slot that was handed out already is refused and counted in `late`: the watermark had
    promised that it does not exist. Bounded by what lies between the watermark and the end of the topic; the
    consumer stops reading a partition that runs far ahead of the others.
    """

    def __init__(self, next_slot: int | None = None) -> None:
        self.next_slot = next_slot
        self.late = 0
        self._open: dict[int, Slot] = {}

    def add(self, number: int, steps: Mapping[StepKey, StepCounts]) -> None:
        """Merge counts into slot `number`."""
        if self.next_slot is not None and number < self.next_slot:
            self.late += sum(counts.events for counts in steps.values())
            return
        slot = self._open.setdefault(number, Slot(number))
        for key, counts in steps.items():
            slot.steps.setdefault(key, StepCounts()).add(counts)

    def lose(self, number: int, losses: Mapping[str, Losses]) -> None:
        """Add losses by pipeline to slot `number`, or to the next one if that was handed out: reports come late."""
        if self.next_slot is not None:
            number = max(number, self.next_slot)
        slot = self._open.setdefault(number, Slot(number))
        for pipeline, more in losses.items():
            had = slot.losses.get(pipeline, Losses())
            slot.losses[pipeline] = Losses(
                had.arrived + more.arrived,
                had.dropped + more.dropped,
                had.gaps + more.gaps,
                had.dead_letters + more.dead_letters,
            )

    def closed(self, watermark: float | None) -> Iterator[Slot]:
        """Hand out every slot that ends at or before `watermark`, empty ones too: for the rule, time passes.

        The first slot ever handed out is the first in which anything happened.
        """
        if watermark is None:
            return
        if self.next_slot is None:
            if not self._open:
                return
            self.next_slot = min(self._open)
        while (self.next_slot + 1) * SLOT_S <= watermark:
            number = self.next_slot
            self.next_slot += 1
            yield self._open.pop(number) if number in self._open else Slot(number)

    def __len__(self) -> int:
        """How many slots are open and not empty."""
        return len(self._open)


def merged(parts: Iterable[tuple[int, StepKey, StepCounts]]) -> dict[int, dict[StepKey, StepCounts]]:
    """Counts by slot and step, from rows as the engine groups them."""
    slots: dict[int, dict[StepKey, StepCounts]] = {}
    for number, key, counts in parts:
        slots.setdefault(number, {}).setdefault(key, StepCounts()).add(counts)
    return slots
