"""Are a step's executions slower than they were? A CUSUM on "longer than the learned 95th percentile"."""

# ruff: noqa: RUF009  column() declares a field, as dataclasses.field() does

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steptrail.consumers.health.rules.alarm import NONE, Alarm
from steptrail.consumers.health.rules.baseline import SLOT_S
from steptrail.consumers.health.rules.columns import Columns, Flags, Floats, Grouped, Ints, column
from steptrail.consumers.health.rules.cusum import Cusum
from steptrail.consumers.health.rules.policy import DurationPolicy
from steptrail.consumers.health.rules.sketch import BinnedDurations, Sketch, bin_of, upper_edge_ms

LEARNED_SHARE = 0.95
DEADLINE_SHARE = 0.99
REFRESH_SLOTS = 60
"""The percentiles are taken anew every five minutes, at slots that are multiples of this."""


@dataclass
class Learned(Columns):
    """What the sketch said when it was last asked: bins of the percentiles, and how much it had learned from.

    `part` is the part of the 95th percentile's bin that lies above it: executions within the bin count as slow by
    this part, so that 5 % of them are slow when all is as learned. `first` is the slot of the first duration
    ever, 0 before it.
    """

    p95_bin: Ints = column(np.int64)
    p99_bin: Ints = column(np.int64)
    part: Floats = column()
    total: Floats = column()
    first: Ints = column(np.int64)

    def judged(self, slot: int, policy: DurationPolicy) -> Flags:
        """Which steps have a normal to be compared with: pinned, or learned from enough and for long enough."""
        long_enough = (self.first > 0) & ((slot - self.first) * SLOT_S >= policy.learn_s)
        judged: Flags = (long_enough & (self.total >= policy.least_learned)) | ~np.isnan(policy.normal_ms)
        return judged

    def normal_bin(self, policy: DurationPolicy) -> Ints:
        """The bin that 95 % of each step's durations do not exceed."""
        learned = np.isnan(policy.normal_ms)
        return np.where(learned, self.p95_bin, bin_of(np.where(learned, 1.0, policy.normal_ms)))


@dataclass
class DurationRule(Grouped):
    """State of the duration rule for every step.

    Only executions that succeeded (SUCCESS, WARNING) are measured: what failed is often quick, or a time-out.
    """

    sketch: Sketch
    learned: Learned
    cusum: Cusum
    alarm: Alarm

    @classmethod
    def of(cls, rows: int) -> DurationRule:
        """For `rows` steps of which nothing is known yet."""
        return cls(Sketch.of(rows), Learned.of(rows), Cusum.of(rows), Alarm.of(rows))

    def normal_ms_of(self, row: int, slot: int, policy: DurationPolicy) -> float | None:
        """What 95 % of one step's durations do not exceed, None before it is known; `policy` is that step's."""
        one = Learned(**{name: column[row : row + 1] for name, column in self.learned.arrays()})
        return float(upper_edge_ms(one.normal_bin(policy))[0]) if one.judged(slot, policy)[0] else None

    def fold(self, slot: int, durations: BinnedDurations, policy: DurationPolicy) -> None:
        """Add one closed slot."""
        learned, rows = self.learned, self.learned.rows
        if slot % REFRESH_SLOTS == 0:
            self._refresh(policy)
        judged = learned.judged(slot, policy)
        part = np.where(np.isnan(policy.normal_ms), learned.part, 0.0)
        slow = durations.above(learned.normal_bin(policy), part) * judged
        ended = durations.measured(rows) * judged
        normal, tuned = np.broadcast_to(policy.normal, rows), np.broadcast_to(policy.bad, rows)
        self.cusum.fold(slot, slow, ended, ended, (normal, tuned), policy)
        recovered = np.maximum(policy.recovery_share, policy.recovery_margin * normal)
        self.alarm.fold(slot, slow, ended, self.cusum, recovered, policy)
        self.sketch.learn(durations, self._learning(policy))
        learned.first[durations.rows[learned.first[durations.rows] == 0]] = slot

    def _learning(self, policy: DurationPolicy) -> Flags:
        learning: Flags = (self.alarm.level == NONE) & self.cusum.calm(policy)
        return learning

    def _refresh(self, policy: DurationPolicy) -> None:
        self.sketch.forget(REFRESH_SLOTS * SLOT_S, policy.half_life_s, self._learning(policy))
        self.learned.p95_bin = self.sketch.percentile_bin(LEARNED_SHARE)
        self.learned.p99_bin = self.sketch.percentile_bin(DEADLINE_SHARE)
        self.learned.part = self.sketch.part_above(self.learned.p95_bin, 1 - LEARNED_SHARE)
        self.learned.total = self.sketch.total()
