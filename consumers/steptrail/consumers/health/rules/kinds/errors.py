"""Rule `errors`: do more of a step's executions fail than normally?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from steptrail.consumers.health.rules.alarm import NONE, Alarm
from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.columns import Columns, Flags, Floats, Ints, Number, column
from steptrail.consumers.health.rules.cusum import Cusum
from steptrail.consumers.health.rules.formatting import percent, span
from steptrail.consumers.health.rules.parameters import RatioPolicy, number, pin
from steptrail.consumers.health.rules.rule import StepRule
from steptrail.consumers.health.rules.slots import SLOT_S
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import Finding
from steptrail.schemas.configuration.toml_file import Clashes, Found
from steptrail.schemas.configuration.toml_values import shown
from steptrail.schemas.figures import counted


@dataclass(frozen=True)
class ErrorPolicy(RatioPolicy):
    """Failed (ERROR, FAILED) among ended executions (these, SUCCESS and WARNING; SKIPPED ones do not count)."""

    rule: ClassVar[str] = "errors"

    normal: Number = pin(0.0001, 0.5, "the share of failures that is normal; learned unless pinned")
    normal_least: Number = number(0.02, 0.0001, 0.5, "least share that is taken for normal")
    normal_most: Number = number(0.10, 0.0001, 0.5, "greatest share that is learned as normal")
    margin: Number = number(1.1, 1, 5, "the learned share is taken this many times")
    prior_failed: Number = number(10, 0, 1e6, "failures believed to have been before the first execution")
    prior_ended: Number = number(200, 1, 1e6, "and executions")
    bad: Number = number(0.20, 0.001, 1, "the share that an alarm is tuned for, at least")
    bad_factor: Number = number(3, 1.1, 100, "and at least this many times the normal share")

    @classmethod
    def clashes(cls, found: Found) -> Clashes:
        """The least share must not exceed the greatest."""
        least, most = found.get("normal_least", 0.0), found.get("normal_most", 1.0)
        if isinstance(least, (int, float)) and isinstance(most, (int, float)) and least > most:
            yield "normal_least", f"{shown(least)} is more than normal_most, {shown(most)}"


@dataclass
class Baseline(Columns):
    """Failed and ended executions, decaying with a half-life: learned slowly, and not while something is wrong."""

    failed: Floats = column()
    ended: Floats = column()

    def learn(self, failed: Floats, ended: Floats, learning: Flags, half_life_s: Number) -> None:
        """Add one slot's counts where `learning`; other steps neither learn nor decay."""
        decay = np.where(learning, np.exp2(-SLOT_S / half_life_s), 1.0)
        self.failed = self.failed * decay + np.where(learning, failed, 0.0)
        self.ended = self.ended * decay + np.where(learning, ended, 0.0)

    def normal(self, policy: ErrorPolicy) -> Floats:
        """The normal share of failures: pinned, or learned so far."""
        learned = (self.failed + policy.prior_failed) / (self.ended + policy.prior_ended)
        return np.where(np.isnan(policy.normal), learned, policy.normal)

    def shares(self, policy: ErrorPolicy) -> tuple[Floats, Floats]:
        """The share assumed normal (p0) and the share that the alarm is tuned for (p1 > p0)."""
        learned = np.clip(
            policy.margin * (self.failed + policy.prior_failed) / (self.ended + policy.prior_ended),
            policy.normal_least,
            policy.normal_most,
        )
        normal = np.where(np.isnan(policy.normal), learned, policy.normal)
        bad = np.minimum(np.maximum(policy.bad, policy.bad_factor * normal), 0.5 + normal / 2)
        return normal, bad


@dataclass
class ErrorRule(StepRule[ErrorPolicy]):
    """A CUSUM on the share of failures, against a learned or pinned normal share."""

    policy = ErrorPolicy

    baseline: Baseline
    cusum: Cusum
    alarm: Alarm

    def fold(self, block: Block, policy: ErrorPolicy) -> None:
        """Add one closed slot. WARNING endings count as succeeded, SKIPPED ones are ignored."""
        slot, failed, ended = block.number, block.failed, block.succeeded + block.failed
        normal, tuned = self.baseline.shares(policy)
        self.cusum.fold(slot, failed, ended, block.started, (normal, tuned), policy)
        recovered = np.maximum(policy.recovery_share, policy.recovery_margin * normal)
        self.alarm.fold(slot, failed, ended, self.cusum, recovered, policy)
        learning = (self.alarm.level == NONE) & self.cusum.calm(policy)
        self.baseline.learn(failed, ended, learning, policy.half_life_s)

    def levels(self, slot: int, policy: ErrorPolicy) -> Ints:
        """The level of each step's alarm."""
        return self.alarm.level.astype(np.int64)

    def findings(self, row: int, slot: int, policy: ErrorPolicy) -> list[Finding]:
        """One, unless nothing has ended yet."""
        failed, ended, seconds = self.alarm.recent(row, slot)
        if not ended:
            return []
        normal, share, threshold = self.normal_of(row, policy), failed / ended, float(policy.least_share)
        return [
            Finding(
                policy.rule,
                HealthStatus.of_level(int(self.alarm.level[row])),
                f"{failed} of the last {counted(ended, 'execution')} ({percent(share)}) failed in {span(seconds)}; "
                f"normal {percent(normal)}, threshold {percent(threshold)}",
                self.alarm.since_s(row),
                {
                    "failed": failed,
                    "ended": ended,
                    "share": share,
                    "seconds": seconds,
                    "normal": normal,
                    "threshold": threshold,
                    "pinned": policy.normal == policy.normal,
                    "score": float(self.cusum.score[row]),
                    "limit": float(policy.limit),
                },
            )
        ]

    def normal_of(self, row: int, policy: ErrorPolicy) -> float:
        """The normal share of failures of one step; `policy` is that step's."""
        one = Baseline(self.baseline.failed[row : row + 1], self.baseline.ended[row : row + 1])
        return float(one.normal(policy)[0])


RULE = ErrorRule
