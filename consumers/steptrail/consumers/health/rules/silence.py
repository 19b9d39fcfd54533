"""Is a step quiet for longer than it ever is at this hour of the week?"""

# ruff: noqa: RUF009  column() declares a field, as dataclasses.field() does

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from steptrail.consumers.health.rules.baseline import SLOT_S
from steptrail.consumers.health.rules.columns import Columns, Flags, Floats, Grouped, Ints, column
from steptrail.consumers.health.rules.hours import HOUR_SLOTS, WEEK_HOURS, WEEKS, Hours
from steptrail.consumers.health.rules.policy import SilencePolicy

NEVER = 2**40
"""A number of slots that no quiet reaches."""


@dataclass
class Pauses(Columns):
    """Signs of life: the first and the latest slot with one (0: none yet), this hour's counts, the longest pauses.

    `recent` holds the longest pause that ended in this hour and in the one before, without those that were said to
    be silence; `rate` the events a slot of the hour before; `longest` the longest pause that ended in each of the
    last four weeks in which one did. `limit` is the quiet that is too long within the current hour, as learned;
    `silent` the slot from which on the step is said to be silent (0: it is not), and `passed` the limit that was
    passed then. Said once, it holds until the next sign of life, whatever the hour.
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
class SilenceRule(Grouped):
    """State of the silence rule for every step. Judges nothing before it has seen two weeks of a step."""

    pauses: Pauses
    hours: Hours

    @classmethod
    def of(cls, rows: int) -> SilenceRule:
        """For `rows` steps of which nothing is known yet."""
        return cls(Pauses.of(rows), Hours.of(rows))

    def fold(self, slot: int, events: Floats, policy: SilencePolicy) -> None:
        """Add one closed slot; `events` are signs of life: executions that started or ended in any way."""
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

    def quiet(self, slot: int) -> Ints:
        """How long each step has been quiet at the end of `slot`, in slots; 0 for those never seen."""
        return np.where(self.pauses.latest > 0, slot - self.pauses.latest, 0)

    def silent(self) -> Flags:
        """Which steps have been quiet for too long, and have not been heard of since."""
        return self.pauses.silent > 0

    def limit_at(self, hour: int, policy: SilencePolicy) -> Ints:
        """From which quiet on, in slots, a step is silent within this hour (since the epoch), as learned."""
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
