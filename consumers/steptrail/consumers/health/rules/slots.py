"""The counts of one slot: 5 seconds of broker time. The rules receive complete slots in order."""

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
    """One slot's counts for one bound: executions with its measure, and those beyond it."""

    count: int = 0
    beyond: int = 0


@dataclass(frozen=True)
class Losses:
    """One slot's counts of one pipeline: events that arrived, and events known to be missing.

    `dropped`: dropped or failed according to the emitters' reports; `gaps`: missing numbers in emitters' sequences
    that those do not account for; `dead_letters`: messages that arrived and were not events.
    """

    arrived: int = 0
    dropped: int = 0
    gaps: int = 0
    dead_letters: int = 0


@dataclass
class StepCounts:
    """One slot's counts of one step, each event counted once.

    `started`: executions whose first event other than PENDING is RUNNING; `succeeded`, `warned`, `failed` (ERROR and
    FAILED), `skipped`: endings. `durations`: bin (see `sketch.bin_of`) -> successful endings with a duration.
    `measured`: the counts for each threshold.
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
    """One slot: `number` is its start in seconds since the epoch / 5. Omits steps without events."""

    number: int
    steps: dict[StepKey, StepCounts] = field(default_factory=dict)
    losses: dict[str, Losses] = field(default_factory=dict)


def slot_of(time: float) -> int:
    """The number of the slot that contains `time` (seconds since the epoch)."""
    return int(time // SLOT_S)
