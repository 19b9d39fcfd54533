"""Are a step's executions slower than they were? A CUSUM on "longer than the learned 95th percentile"."""

# ruff: noqa: RUF009  column() declares a field, as dataclasses.field() does

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .alarm import NONE, Alarm
from .baseline import SLOT_S
from .columns import Columns, Flags, Floats, Grouped, Ints, column
from .cusum import Cusum
from .policy import DurationPolicy
from .sketch import BinnedDurations, Sketch, bin_of

LEARNED_SHARE = 0.95
DEADLINE_SHARE = 0.99
REFRESH_SLOTS = 60
"""The percentiles are taken anew every five minutes, at slots that are multiples of this."""


@dataclass
class Learned(Columns):
    """What the sketch said when it was last asked: bins of the percentiles, and how much it had learned from."""

    p95_bin: Ints = column(np.int64)
    p99_bin: Ints = column(np.int64)
    total: Floats = column()


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

    def fold(self, slot: int, durations: BinnedDurations, policy: DurationPolicy) -> None:
        """Add one closed slot."""
        rows = self.learned.rows
        if slot % REFRESH_SLOTS == 0:
            self._refresh(policy)
        measured = durations.measured(rows)
        judged = self.judged(policy)
        slow = durations.above(self.normal_bin(policy)) * judged
        ended = measured * judged
        normal = np.broadcast_to(np.asarray(policy.normal, np.float64), slow.shape)
        tuned = np.broadcast_to(np.asarray(policy.bad, np.float64), slow.shape)
        self.cusum.fold(slot, slow, ended, ended, (normal, tuned), policy)
        recovered = np.maximum(policy.recovery_share, policy.recovery_margin * normal)
        self.alarm.fold(slot, slow, ended, self.cusum, recovered, policy)
        self.sketch.learn(durations, self._learning(policy))

    def judged(self, policy: DurationPolicy) -> Flags:
        """Which steps have a normal to be compared with: pinned, or learned from enough."""
        judged: Flags = (self.learned.total >= policy.least_learned) | ~np.isnan(policy.normal_ms)
        return judged

    def normal_bin(self, policy: DurationPolicy) -> Ints:
        """The bin that 95 % of each step's durations do not exceed."""
        pinned = np.isnan(policy.normal_ms)
        return np.where(pinned, self.learned.p95_bin, bin_of(np.where(pinned, 1.0, policy.normal_ms)))

    def _learning(self, policy: DurationPolicy) -> Flags:
        learning: Flags = (self.alarm.level == NONE) & self.cusum.calm(policy)
        return learning

    def _refresh(self, policy: DurationPolicy) -> None:
        self.sketch.forget(REFRESH_SLOTS * SLOT_S, policy.half_life_s, self._learning(policy))
        self.learned.p95_bin = self.sketch.percentile_bin(LEARNED_SHARE)
        self.learned.p99_bin = self.sketch.percentile_bin(DEADLINE_SHARE)
        self.learned.total = self.sketch.total()
