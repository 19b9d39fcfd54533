"""One slot as input of the rules: columns over all steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from steptrail.consumers.health.rules.columns import Floats
from steptrail.consumers.health.rules.sketch import BinnedDurations
from steptrail.consumers.health.rules.slots import Bound, Measured, Slot, StepKey


@dataclass(frozen=True)
class Block:
    """Counts of slot `number`, one row for each step: see `slots.StepCounts`; `succeeded` includes `warned`.

    `measured`: by row, for the steps with measurements.
    """

    number: int
    started: Floats
    succeeded: Floats
    warned: Floats
    failed: Floats
    skipped: Floats
    durations: BinnedDurations
    measured: Mapping[int, Mapping[Bound, Measured]]

    @classmethod
    def of(cls, slot: Slot, index: Mapping[StepKey, int]) -> Block:
        """The counts of `slot`; omits steps without a row in `index`."""
        counts = np.zeros((5, len(index)))
        rows: list[int] = []
        bins: list[int] = []
        binned: list[float] = []
        measured: dict[int, Mapping[Bound, Measured]] = {}
        for key, step in slot.steps.items():
            row = index.get(key)
            if row is None:
                continue
            ended_well = step.succeeded + step.warned
            counts[:, row] = step.started, ended_well, step.warned, step.failed, step.skipped
            if step.measured:
                measured[row] = step.measured
            for number, count in step.durations.items():
                rows.append(row)
                bins.append(number)
                binned.append(count)
        durations = BinnedDurations(
            np.array(rows, np.int64), np.array(bins, np.int64), np.array(binned, float)
        )
        started, succeeded, warned, failed, skipped = counts
        return cls(slot.number, started, succeeded, warned, failed, skipped, durations, measured)

    @classmethod
    def counted(
        cls,
        number: int,
        started: Floats,
        succeeded: Floats | None = None,
        failed: Floats | None = None,
        durations: BinnedDurations | None = None,
    ) -> Block:
        """Build from columns, for simulations; omitted counts are zero."""
        none = np.zeros(len(started))
        good = none if succeeded is None else succeeded
        bad = none if failed is None else failed
        return cls(number, started, good, none, bad, none, durations or BinnedDurations.none(), {})

    @property
    def events(self) -> Floats:
        """Number of signs of life of each step."""
        return self.started + self.succeeded + self.failed + self.skipped
