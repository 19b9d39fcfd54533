"""Rule `durations`: are a step's executions slower than they were?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from steptrail.consumers.health.rules.alarm import NONE, Alarm
from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.columns import Columns, Flags, Floats, Ints, Number, column
from steptrail.consumers.health.rules.cusum import Cusum
from steptrail.consumers.health.rules.formatting import milliseconds, percent, span
from steptrail.consumers.health.rules.parameters import DAY_S, RatioPolicy, number, pin
from steptrail.consumers.health.rules.rule import StepRule
from steptrail.consumers.health.rules.sketch import Sketch, bin_of, upper_edge_ms
from steptrail.consumers.health.rules.slots import SLOT_S
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import Finding
from steptrail.schemas.figures import counted

LEARNED_SHARE = 0.95
DEADLINE_SHARE = 0.99
REFRESH_SLOTS = 60
"""The percentiles are taken anew every five minutes, at slots that are multiples of this."""


@dataclass(frozen=True)
class DurationPolicy(RatioPolicy):
    """Slow among ended executions: longer than the learned 95th percentile. Slow alone is never CRITICAL."""

    rule: ClassVar[str] = "durations"

    critical_share: Number = number(2, 0.05, 2, "share of recent executions that is CRITICAL; above 1: never")
    started_share: Number = number(0, 0, 1, "share of all started since the evidence began that must be bad")
    recovery_share: Number = number(0.09, 0, 1, "share that is good enough to recover")
    normal_ms: Number = pin(0.1, 1e9, "the duration that 95 % keep within; learned unless pinned")
    least_learned: Number = number(500, 50, 1e9, "durations that must have been learned before any is judged")
    learn_s: Number = number(
        3600, 0, 28 * DAY_S, "and for how long, so that a warm-up is not taken for normal"
    )
    normal: Number = number(0.0625, 0.01, 0.5, "share of slow ones that is normal")
    bad: Number = number(0.20, 0.02, 1, "the share that an alarm is tuned for")


@dataclass
class Learned(Columns):
    """The sketch's last answer: bins of the percentiles, and the amount of data behind it.

    `part` is the part of the 95th percentile's bin above the percentile: executions in the bin count as slow in this
    proportion, so that 5 % are slow when nothing has changed. `first` is the slot of the first duration ever, 0
    before it.
    """

    p95_bin: Ints = column(np.int64)
    p99_bin: Ints = column(np.int64)
    part: Floats = column()
    total: Floats = column()
    first: Ints = column(np.int64)

    def judged(self, slot: int, policy: DurationPolicy) -> Flags:
        """Which steps have a normal duration: pinned, or learned from enough data over a long enough time."""
        long_enough = (self.first > 0) & ((slot - self.first) * SLOT_S >= policy.learn_s)
        judged: Flags = (long_enough & (self.total >= policy.least_learned)) | ~np.isnan(policy.normal_ms)
        return judged

    def normal_bin(self, policy: DurationPolicy) -> Ints:
        """The bin that 95 % of each step's durations do not exceed."""
        learned = np.isnan(policy.normal_ms)
        return np.where(learned, self.p95_bin, bin_of(np.where(learned, 1.0, policy.normal_ms)))


@dataclass
class DurationRule(StepRule[DurationPolicy]):
    """A CUSUM on "longer than the learned 95th percentile".

    Only successful executions (SUCCESS, WARNING) are measured: failures are often quick, or timeouts.
    """

    policy = DurationPolicy

    sketch: Sketch
    learned: Learned
    cusum: Cusum
    alarm: Alarm

    def normal_ms_of(self, row: int, slot: int, policy: DurationPolicy) -> float | None:
        """The normal 95th percentile of one step's durations, None while unknown; `policy` is that step's."""
        one = Learned(**{name: column[row : row + 1] for name, column in self.learned.arrays()})
        return float(upper_edge_ms(one.normal_bin(policy))[0]) if one.judged(slot, policy)[0] else None

    def fold(self, block: Block, policy: DurationPolicy) -> None:
        """Add one closed slot."""
        slot, durations = block.number, block.durations
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

    def levels(self, slot: int, policy: DurationPolicy) -> Ints:
        """The level of each step's alarm."""
        return self.alarm.level.astype(np.int64)

    def findings(self, row: int, slot: int, policy: DurationPolicy) -> list[Finding]:
        """One, unless there is no normal duration to compare with yet."""
        slow, ended, seconds = self.alarm.recent(row, slot)
        normal_ms = self.normal_ms_of(row, slot, policy)
        if not ended or normal_ms is None:
            return []
        share, threshold = slow / ended, float(policy.least_share)
        return [
            Finding(
                policy.rule,
                HealthStatus.of_level(int(self.alarm.level[row])),
                f"{slow} of the last {counted(ended, 'execution')} ({percent(share)}) took longer than "
                f"{milliseconds(normal_ms)} in {span(seconds)}; normal 5 %, threshold {percent(threshold)}",
                self.alarm.since_s(row),
                {
                    "slow": slow,
                    "ended": ended,
                    "share": share,
                    "seconds": seconds,
                    "normal_p95_ms": normal_ms,
                    "threshold": threshold,
                    "pinned": policy.normal_ms == policy.normal_ms,
                    "score": float(self.cusum.score[row]),
                    "limit": float(policy.limit),
                },
            )
        ]

    def _learning(self, policy: DurationPolicy) -> Flags:
        learning: Flags = (self.alarm.level == NONE) & self.cusum.calm(policy)
        return learning

    def _refresh(self, policy: DurationPolicy) -> None:
        self.sketch.forget(REFRESH_SLOTS * SLOT_S, policy.half_life_s, self._learning(policy))
        self.learned.p95_bin = self.sketch.percentile_bin(LEARNED_SHARE)
        self.learned.p99_bin = self.sketch.percentile_bin(DEADLINE_SHARE)
        self.learned.part = self.sketch.part_above(self.learned.p95_bin, 1 - LEARNED_SHARE)
        self.learned.total = self.sketch.total()


RULE = DurationRule
