"""Rule `silence`: is a step quiet for longer than it ever is at this hour of the week?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.columns import Columns, Flags, Floats, Ints, Number, column
from steptrail.consumers.health.rules.formatting import span
from steptrail.consumers.health.rules.hours import HOUR_SLOTS, WEEK_HOURS, WEEKS, Hours
from steptrail.consumers.health.rules.parameters import DAY_S, RulePolicy, number, pin
from steptrail.consumers.health.rules.rule import StepRule
from steptrail.consumers.health.rules.slots import SLOT_S
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import Finding

NEVER = 2**40
"""A number of slots that no quiet reaches."""


@dataclass(frozen=True)
class SilencePolicy(RulePolicy):
    """A step that was busy at this hour of the week, and is not."""

    rule: ClassVar[str] = "silence"

    after_s: Number = pin(10, 60 * DAY_S, "quiet that is too long, whatever was learned")
    history_s: Number = number(
        14 * DAY_S, 3600, 28 * DAY_S, "from the first to the latest sign of life, before judging"
    )
    least_s: Number = number(120, 10, DAY_S, "quiet that is never too long")
    pause_factor: Number = number(
        4, 1, 100, "times the usual pause at this hour of the week, and the longest of the last hour"
    )
    expected: Number = number(30, 1, 1e6, "executions that should have been seen meanwhile")
    longest_factor: Number = number(1.25, 1, 100, "times the longest pause of four weeks, plus")
    longest_plus_s: Number = number(3600, 0, 28 * DAY_S, "this: too long at any hour")
    critical: Number = number(0, 0, 1, "1: silence is CRITICAL, else WARNING")


@dataclass
class Pauses(Columns):
    """Signs of life: the first and the latest slot with one (0: none yet), this hour's counts, the longest pauses.

    `recent` holds the longest pause that ended in this hour and in the one before, except those that counted as
    silence; `rate` the events per slot of the previous hour; `longest` the longest pause that ended in each of the last
    four weeks with one. `limit` is the learned quiet that is too long within the current hour; `silent` the slot since
    which the step counts as silent (0: it does not), and `passed` the limit exceeded then. Once found, silence lasts
    until the next sign of life, whatever the hour.
    """

    first: Ints = column(np.int64)
    latest: Ints = column(np.int64)
    hour_quiet: Ints = column(np.int64)
    recent: Ints = column(np.int64, width=(2,))
    rate: Floats = column()
    hour_events: Floats = column()
    week_longest: Ints = column(np.int64)
    longest: Ints = column(np.int64, width=(WEEKS,))
    limit: Ints = column(np.int64, initial=NEVER)
    silent: Ints = column(np.int64)
    passed: Ints = column(np.int64)


@dataclass
class SilenceRule(StepRule[SilencePolicy]):
    """Compares each step's quiet with its history at this hour of the week. Needs two weeks of history."""

    policy = SilencePolicy

    pauses: Pauses
    hours: Hours

    def fold(self, block: Block, policy: SilencePolicy) -> None:
        """Add one closed slot. Signs of life are executions that started or ended in any way."""
        slot, events = block.number, block.events
        pauses = self.pauses
        if slot % HOUR_SLOTS == 0:
            self._turn_hour(slot, policy)
        lively = np.flatnonzero(events)
        if len(lively):
            known = lively[pauses.latest[lively] > 0]
            quiet = slot - pauses.latest[known]
            pauses.hour_quiet[known] = np.maximum(pauses.hour_quiet[known], quiet)
            pauses.week_longest[known] = np.maximum(pauses.week_longest[known], quiet)
            usual = known[pauses.silent[known] == 0]
            pauses.recent[usual, 0] = np.maximum(pauses.recent[usual, 0], slot - pauses.latest[usual])
            new = lively[pauses.first[lively] == 0]
            pauses.first[new] = slot
            pauses.latest[lively] = slot
            pauses.hour_events[lively] += events[lively]
            pauses.silent[lively] = 0
        quiet = slot - pauses.latest
        given = np.ceil(policy.after_s / SLOT_S)
        too_long = (quiet >= np.where(np.isnan(given), pauses.limit, given)) & (pauses.silent == 0)
        too_long &= pauses.latest > 0
        if too_long.any():
            too_long &= ~np.isnan(given) | (quiet >= policy.pause_factor * pauses.recent.max(axis=1))
            pauses.silent[too_long] = slot + 1
            pauses.passed[too_long] = np.where(np.isnan(given), pauses.limit, given)[too_long]

    def levels(self, slot: int, policy: SilencePolicy) -> Ints:
        """WARNING, or CRITICAL if configured, for each silent step."""
        return self.silent() * (1 + (np.asarray(policy.critical) > 0))

    def findings(self, row: int, slot: int, policy: SilencePolicy) -> list[Finding]:
        """One while the step is silent."""
        pauses = self.pauses
        if not pauses.silent[row]:
            return []
        quiet_s, limit_s = int(slot - pauses.latest[row]) * SLOT_S, int(pauses.passed[row]) * SLOT_S
        return [
            Finding(
                policy.rule,
                HealthStatus.CRITICAL if policy.critical else HealthStatus.WARNING,
                f"nothing began or ended for {span(quiet_s)}; {span(limit_s)} is too long at that hour of the week",
                float(pauses.silent[row]) * SLOT_S,
                {"quiet_s": quiet_s, "limit_s": limit_s, "latest": int(pauses.latest[row] + 1) * SLOT_S},
            )
        ]

    def last_seen(self) -> Ints:
        """The last slot with a sign of life."""
        return self.pauses.latest

    def silent(self) -> Flags:
        """Which steps have been quiet for too long, without a sign of life since."""
        return self.pauses.silent > 0

    def limit_at(self, hour: int, policy: SilencePolicy) -> Ints:
        """The learned quiet, in slots, from which a step counts as silent within this hour (since the epoch)."""
        pauses = self.pauses
        rate = self.hours.least_rate(hour)
        rate = np.where(pauses.rate > 0, np.minimum(rate, pauses.rate), rate)
        with np.errstate(divide="ignore"):
            expected = np.where(rate > 0, policy.expected / rate, NEVER)
        pause = self.hours.usual_quiet(hour)
        usual = np.maximum(np.maximum(policy.least_s / SLOT_S, policy.pause_factor * pause), expected)
        usual = np.where(pause > 0, usual, NEVER)
        longest = policy.longest_factor * self._longest() + policy.longest_plus_s / SLOT_S
        learned = np.minimum(usual, longest)
        judged = (pauses.latest - pauses.first) * SLOT_S >= policy.history_s
        learned = np.where(judged, np.minimum(learned, NEVER), NEVER)
        limit: Ints = np.ceil(learned).astype(np.int64)
        return limit

    def _longest(self) -> Ints:
        longest: Ints = np.maximum(self.pauses.longest.max(axis=1), self.pauses.week_longest)
        return longest

    def _turn_hour(self, slot: int, policy: SilencePolicy) -> None:
        pauses, hour = self.pauses, slot // HOUR_SLOTS
        known = (pauses.first > 0) & (pauses.first <= slot - HOUR_SLOTS)
        quiet = np.maximum(pauses.hour_quiet, slot - 1 - pauses.latest)
        self.hours.note(hour - 1, quiet, pauses.hour_events, known)
        pauses.hour_quiet[:] = 0
        pauses.recent[:, 1] = pauses.recent[:, 0]
        pauses.recent[:, 0] = 0
        pauses.rate = pauses.hour_events / HOUR_SLOTS
        pauses.hour_events[:] = 0
        if hour % WEEK_HOURS == 0:
            ended = pauses.week_longest > 0
            pauses.longest[ended, 1:] = pauses.longest[ended, :-1]
            pauses.longest[ended, 0] = pauses.week_longest[ended]
            pauses.week_longest[:] = 0
        pauses.limit = self.limit_at(hour, policy)


RULE = SilenceRule
