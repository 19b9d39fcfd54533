"""Do more of a step's executions fail than normally?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steptrail.consumers.health.rules.alarm import NONE, Alarm
from steptrail.consumers.health.rules.baseline import Baseline
from steptrail.consumers.health.rules.columns import Floats, Grouped
from steptrail.consumers.health.rules.cusum import Cusum
from steptrail.consumers.health.rules.policy import ErrorPolicy


@dataclass
class ErrorRule(Grouped):
    """State of the error-ratio rule for every step."""

    baseline: Baseline
    cusum: Cusum
    alarm: Alarm

    @classmethod
    def of(cls, rows: int) -> ErrorRule:
        """For `rows` steps of which nothing is known yet."""
        return cls(Baseline.of(rows), Cusum.of(rows), Alarm.of(rows))

    def normal_of(self, row: int, policy: ErrorPolicy) -> float:
        """The share of failures that is normal for one step, as told to people; `policy` is that step's."""
        one = Baseline(self.baseline.failed[row : row + 1], self.baseline.ended[row : row + 1])
        return float(one.normal(policy)[0])

    def fold(
        self, slot: int, started: Floats, succeeded: Floats, failed: Floats, policy: ErrorPolicy
    ) -> None:
        """Add one closed slot; `succeeded` counts WARNING endings too, SKIPPED ones are nowhere."""
        ended = succeeded + failed
        normal, tuned = self.baseline.shares(policy)
        self.cusum.fold(slot, failed, ended, started, (normal, tuned), policy)
        recovered = np.maximum(policy.recovery_share, policy.recovery_margin * normal)
        self.alarm.fold(slot, failed, ended, self.cusum, recovered, policy)
        learning = (self.alarm.level == NONE) & self.cusum.calm(policy)
        self.baseline.learn(failed, ended, learning, policy.half_life_s)
