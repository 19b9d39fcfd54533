"""What happened in one slot: 5 seconds of the broker's time. The rules are given slots that are complete, in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

SLOT_S = 5
"""Length of a slot: time is cut into slots that begin at multiples of it since the epoch."""

StepKey: TypeAlias = tuple[str, str]
"""(pipeline, step)"""

Bound: TypeAlias = tuple[str, float, bool]
"""(measure, bound, below) of a threshold."""


@dataclass(frozen=True)
class Measured:
    """What one slot has for one bound: executions that had its measure, and those beyond it."""

    count: int = 0
    beyond: int = 0


@dataclass(frozen=True)
class Losses:
    """What one slot has of one pipeline: events that arrived, and events that are known not to have.

    `dropped`: dropped by an emitter, or failed at one, as it reports itself; `gaps`: numbers missing in emitters'
    sequences and not accounted for by those; `dead_letters`: messages that arrived and were no events.
    """

    arrived: int = 0
    dropped: int = 0
    gaps: int = 0
    dead_letters: int = 0


@dataclass
class StepCounts:
    """What happened to one step in one slot, each event counted once.

    `started`: executions whose first event, PENDING apart, is RUNNING; `succeeded`, `warned`, `failed` (ERROR and
    FAILED), `skipped`: endings. `durations`: bin (see `sketch.bin_of`) -> successful endings with a duration.
    `measured`: what the slot has for each threshold.
    """

    started: int = 0
    succeeded: int = 0
    warned: int = 0
    failed: int = 0
    skipped: int = 0
    durations: dict[int, int] = field(default_factory=dict)
    measured: dict[Bound, Measured] = field(default_factory=dict)


@dataclass
class Slot:
    """One slot: `number` is its begin in seconds since the epoch / 5. Steps without events are not in it."""

    number: int
    steps: dict[StepKey, StepCounts] = field(default_factory=dict)
    losses: dict[str, Losses] = field(default_factory=dict)


def slot_of(time: float) -> int:
    """The number of the slot that `time` (seconds since the epoch) lies in."""
    return int(time // SLOT_S)
