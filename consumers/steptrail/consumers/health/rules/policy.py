"""What the rules go by: frozen data, every parameter with its default and the range that makes sense.

The defaults were found by simulation (`tests/health_sim`). Each parameter of a policy may hold one number, or a
column with one for each step (`stacked`): the rules compute the same either way.
"""

# ruff: noqa: RUF009  number() declares a field, as dataclasses.field() does

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import numpy as np

from steptrail.consumers.health.rules.columns import Number

DAY_S = 86_400.0


def number(default: float, low: float, high: float, doc: str) -> Any:
    """Declare a parameter: its default, the range it must lie in, and what it means (for docs and messages)."""
    return field(default=default, metadata={"low": low, "high": high, "doc": doc})


def pin(low: float, high: float, doc: str) -> Any:
    """Declare a parameter that is learned unless it is given."""
    return field(default=math.nan, metadata={"low": low, "high": high, "doc": doc})


def declared(low: float, high: float, doc: str) -> Any:
    """Declare a parameter that there is only where it is given."""
    return field(default=math.nan, metadata={"low": low, "high": high, "doc": doc, "without": "none"})


@dataclass(frozen=True)
class RatioPolicy:
    """What the error rule and the duration rule share: a CUSUM on the share of bad executions."""

    limit: Number = number(18, 4, 200, "the score that is an alarm (h of the CUSUM)")
    slot_share: Number = number(0.4, 0.05, 1, "share of the limit that a single slot can add to the score")
    least_slots: Number = number(3, 1, 1000, "slots with endings that the evidence must span")
    least_bad: Number = number(10, 1, 1e6, "bad executions that are needed")
    few_bad: Number = number(5, 1, 1e6, "bad executions that do when the evidence is `few_after_s` long")
    few_after_s: Number = number(600, 0, 7 * DAY_S, "see `few_bad`")
    least_share: Number = number(0.10, 0, 1, "share of the evidence that must be bad")
    started_share: Number = number(
        0.05, 0, 1, "share of all started since the evidence began that must be bad"
    )
    critical_share: Number = number(
        0.5, 0.05, 2, "share of recent executions that is CRITICAL; above 1: never"
    )
    recovery_share: Number = number(0.05, 0, 1, "share that is good enough to recover, if normal is less")
    recovery_margin: Number = number(1.25, 1, 10, "or this many times the normal share")
    recovery_s: Number = number(120, 5, DAY_S, "how long it must be so good")
    recovery_executions: Number = number(30, 1, 1e6, "and over how many executions")
    realarm_s: Number = number(3600, 0, 7 * DAY_S, "an alarm so soon after a recovery doubles `recovery_s`")
    recovery_most_s: Number = number(3600, 5, 7 * DAY_S, "up to this")
    half_life_s: Number = number(DAY_S, 600, 60 * DAY_S, "in which what was learned loses half its weight")


@dataclass(frozen=True)
class ErrorPolicy(RatioPolicy):
    """Failed (ERROR, FAILED) among ended executions (these, SUCCESS and WARNING; SKIPPED ones do not count)."""

    normal: Number = pin(0.0001, 0.5, "the share of failures that is normal; learned unless pinned")
    normal_least: Number = number(0.02, 0.0001, 0.5, "least share that is taken for normal")
    normal_most: Number = number(0.10, 0.0001, 0.5, "greatest share that is learned as normal")
    margin: Number = number(1.1, 1, 5, "the learned share is taken this many times")
    prior_failed: Number = number(10, 0, 1e6, "failures believed to have been before the first execution")
    prior_ended: Number = number(200, 1, 1e6, "and executions")
    bad: Number = number(0.20, 0.001, 1, "the share that an alarm is tuned for, at least")
    bad_factor: Number = number(3, 1.1, 100, "and at least this many times the normal share")


@dataclass(frozen=True)
class DurationPolicy(RatioPolicy):
    """Slow among ended executions: longer than the learned 95th percentile. Slow alone is never CRITICAL."""

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


@dataclass(frozen=True)
class SilencePolicy:
    """A step that was busy at this hour of the week, and is not."""

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


@dataclass(frozen=True)
class StalledPolicy:
    """Executions that were started and did not end in time, or were queued and not begun in time."""

    deadline_s: Number = pin(1, 365 * DAY_S, "the deadline; learned unless declared")
    least_s: Number = number(600, 1, 28 * DAY_S, "least deadline that is learned")
    factor: Number = number(3, 1, 100, "times the 99th percentile of durations")
    least_ended: Number = number(100, 10, 1e9, "endings that must have been learned from")
    grace_s: Number = number(60, 0, DAY_S, "granted on top, for records on their way")
    counts_for_s: Number = number(
        DAY_S, 60, 365 * DAY_S, "how long one that stalled speaks in the step's verdict"
    )
    queued_s: Number = declared(
        1, 365 * DAY_S, "how long an execution may be PENDING before it is begun; no deadline unless declared"
    )
    critical_at: Number = number(0, 0, 1e9, "stalled executions that are CRITICAL, else WARNING; 0: never")


@dataclass(frozen=True)
class LossPolicy:
    """Events that are known to be missing: dropped or failed at emitters, gaps in sequences, dead letters."""

    warning_at: Number = number(1, 1, 1e12, "lost events in the window that are WARNING")
    unknown_share: Number = number(0.05, 0.0001, 1, "share of lost events from which on nothing is known")
    window_s: Number = number(600, 5, DAY_S, "time constant in which losses are forgotten")


@dataclass(frozen=True)
class Threshold:
    """A bound that a user sets on durations (`measure = "duration_ms"`) or on a metric of the step's events.

    Executions beyond `bound` (above it, or below it with `below`) are counted over the last `window_s`; the
    verdict is `status` while they are at least `share` of at least `at_least` executions that had the measure.
    """

    measure: str
    bound: float
    below: bool = False
    share: float = 0.1
    window_s: float = 300.0
    at_least: int = 10
    critical: bool = False

    def beyond(self, value: float) -> bool:
        """Whether one value is beyond the bound."""
        return value < self.bound if self.below else value > self.bound


@dataclass(frozen=True)
class Policy:
    """All that is to be known about judging one step."""

    errors: ErrorPolicy = field(default_factory=ErrorPolicy)
    durations: DurationPolicy = field(default_factory=DurationPolicy)
    silence: SilencePolicy = field(default_factory=SilencePolicy)
    stalled: StalledPolicy = field(default_factory=StalledPolicy)
    losses: LossPolicy = field(default_factory=LossPolicy)
    thresholds: tuple[Threshold, ...] = ()
    silenced: frozenset[str] = frozenset()


P = TypeVar("P", bound="RatioPolicy | SilencePolicy | StalledPolicy | LossPolicy")


def stacked(policies: Sequence[P]) -> P:
    """One policy for many steps: a parameter in which they differ becomes a column, one row for each.

    Raises ValueError when there is none.
    """
    if not policies:
        raise ValueError("no policy to stack: give at least one")
    numbers: dict[int, int] = {}
    distinct: list[P] = []
    for policy in policies:
        if id(policy) not in numbers:
            numbers[id(policy)] = len(distinct)
            distinct.append(policy)
    changes: dict[str, Any] = {}
    if len(distinct) > 1:
        which = np.array([numbers[id(policy)] for policy in policies])
        for f in fields(distinct[0]):
            values = np.array([getattr(policy, f.name) for policy in distinct], np.float64)
            if not np.array_equal(values, np.full(len(values), values[0]), equal_nan=True):
                changes[f.name] = values[which]
    return replace(distinct[0], **changes)
