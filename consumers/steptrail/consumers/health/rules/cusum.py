"""A CUSUM on executions: detects a rise of the share of bad ones from p0 to p1, and keeps the evidence.

Each slot adds the log-likelihood ratio of its executions to a score that never falls below 0:

    S = max(0, S + min(0.4 h, bad · ln(p1/p0) - good · ln((1 - p0)/(1 - p1))))

A single slot adds at most 0.4 h, so that a burst within one or two slots raises no alarm. (An alarm always needs three
slots; with a third instead of 0.4, trouble that begins in the middle of a slot often needs a fifth one.) The counts of
evidence restart whenever S is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steptrail.consumers.health.rules.columns import Columns, Flags, Floats, Ints, column
from steptrail.consumers.health.rules.parameters import RatioPolicy
from steptrail.consumers.health.rules.slots import SLOT_S

CEILING = 2.0
"""The score stops at so many limits: what went before is forgotten in bounded time."""


@dataclass
class Cusum(Columns):
    """Score and evidence: `since` is the slot in which the evidence began."""

    score: Floats = column()
    bad: Floats = column()
    ended: Floats = column()
    started: Floats = column()
    slots: Ints = column(np.int64)
    since: Ints = column(np.int64)

    def fold(
        self,
        slot: int,
        bad: Floats,
        ended: Floats,
        started: Floats,
        shares: tuple[Floats, Floats],
        policy: RatioPolicy,
    ) -> None:
        """Add one closed slot; `shares` are (p0, p1)."""
        normal, tuned = shares
        gain = bad * np.log(tuned / normal) - (ended - bad) * np.log((1 - normal) / (1 - tuned))
        old = self.score > 0
        score = self.score + np.minimum(gain, policy.slot_share * policy.limit)
        self.score = np.minimum(np.maximum(score, 0.0), CEILING * policy.limit)
        self.bad = self.bad * old + bad
        self.ended = self.ended * old + ended
        self.started = self.started * old + started
        self.slots = self.slots * old + (ended > 0)
        self.since = np.where(old, self.since, slot)

    def convincing(self, slot: int, policy: RatioPolicy) -> Flags:
        """Whether the evidence up to `slot`, the last one folded, amounts to an alarm.

        Slow successes with fast failures look like an outage while the successes are still running: so the bad ones
        must also be a sufficient share of all executions started since.
        """
        lasted = (slot + 1 - self.since) * SLOT_S
        enough = (self.bad >= policy.least_bad) | (
            (self.bad >= policy.few_bad) & (lasted >= policy.few_after_s)
        )
        return (
            (self.score >= policy.limit)
            & (self.slots >= policy.least_slots)
            & enough
            & (self.bad >= policy.least_share * self.ended)
            & (self.bad >= policy.started_share * np.maximum(self.ended, self.started))
        )

    def calm(self, policy: RatioPolicy) -> Flags:
        """Whether the score is low enough to learn what is normal, and to end an alarm."""
        return self.score < policy.limit / 4

    def restart(self, where: Flags) -> None:
        """Reset the score, and so the evidence, of these rows."""
        self.score = np.where(where, 0.0, self.score)
