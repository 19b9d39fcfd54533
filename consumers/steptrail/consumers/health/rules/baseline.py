"""How many of a step's executions fail when all is well: learned slowly, and not while something is wrong."""

# ruff: noqa: RUF009  column() declares a field, as dataclasses.field() does

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steptrail.consumers.health.rules.columns import Columns, Flags, Floats, Number, column
from steptrail.consumers.health.rules.policy import ErrorPolicy

SLOT_S = 5
"""Length of a slot: time is cut into slots that begin at multiples of it since the epoch."""


@dataclass
class Baseline(Columns):
    """Failed and ended executions, forgotten with a half-life."""

    failed: Floats = column()
    ended: Floats = column()

    def learn(self, failed: Floats, ended: Floats, learning: Flags, half_life_s: Number) -> None:
        """Take in one slot's counts where `learning`; elsewhere nothing is learned and nothing forgotten."""
        decay = np.where(learning, np.exp2(-SLOT_S / half_life_s), 1.0)
        self.failed = self.failed * decay + np.where(learning, failed, 0.0)
        self.ended = self.ended * decay + np.where(learning, ended, 0.0)

    def normal(self, policy: ErrorPolicy) -> Floats:
        """The share of failures that is normal, as told to people: pinned, or learned so far."""
        learned = (self.failed + policy.prior_failed) / (self.ended + policy.prior_ended)
        return np.where(np.isnan(policy.normal), learned, policy.normal)

    def shares(self, policy: ErrorPolicy) -> tuple[Floats, Floats]:
        """The share taken for normal (p0) and the share that an alarm is tuned for (p1 > p0)."""
        learned = np.clip(
            policy.margin * (self.failed + policy.prior_failed) / (self.ended + policy.prior_ended),
            policy.normal_least,
            policy.normal_most,
        )
        normal = np.where(np.isnan(policy.normal), learned, policy.normal)
        bad = np.minimum(np.maximum(policy.bad, policy.bad_factor * normal), 0.5 + normal / 2)
        return normal, bad
