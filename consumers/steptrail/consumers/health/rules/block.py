"""One slot as the rules take it: columns over all steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from steptrail.consumers.health.rules.columns import Floats
from steptrail.consumers.health.rules.sketch import BinnedDurations
from steptrail.consumers.health.rules.slots import Slot, StepKey


@dataclass(frozen=True)
class Block:
    """Counts of one slot, one row for each step: see `slots.StepCounts`; `succeeded` has the warned ones in it."""

    number: int
    started: Floats
    succeeded: Floats
    failed: Floats
    skipped: Floats
    durations: BinnedDurations

    @classmethod
    def of(cls, slot: Slot, index: Mapping[StepKey, int]) -> Block:
        """The counts of `slot`; steps that have no row in `index` are left out."""
        counts = np.zeros((4, len(index)))
        rows: list[int] = []
        bins: list[int] = []
        binned: list[float] = []
        for key, step in slot.steps.items():
            row = index.get(key)
            if row is None:
                continue
            counts[:, row] = step.started, step.succeeded + step.warned, step.failed, step.skipped
            for number, count in step.durations.items():
                rows.append(row)
                bins.append(number)
                binned.append(count)
        durations = BinnedDurations(
            np.array(rows, np.int64), np.array(bins, np.int64), np.array(binned, float)
        )
        return cls(slot.number, counts[0], counts[1], counts[2], counts[3], durations)

    @property
    def events(self) -> Floats:
        """Signs of life."""
        return self.started + self.succeeded + self.failed + self.skipped
