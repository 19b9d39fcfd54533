"""A steady step stops: how long until it is said? And weeks of steps that rest by night or out of hours."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np

from bench.figure import Figure
from health_sim.simulation import DAY_SLOTS, FIRST_SLOT, HOUR_SLOTS, WATERMARK_LAG_S, Simulation, spread
from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.columns import Floats, Ints
from steptrail.consumers.health.rules.kinds.silence import SilencePolicy, SilenceRule
from steptrail.consumers.health.rules.slots import SLOT_S

BOUND_S = 180
HISTORY_DAYS = 14
WORKING_SLOT = 21 * HOUR_SLOTS // 2
KINDS = ("nightly", "office hours", "steady 0.01/s", "steady 0.1/s", "steady 1/s", "every 5 min")
RESTING = 2
"""The first of them, of which 1,000 step-days are asked for."""
MONDAY = FIRST_SLOT // (7 * DAY_SLOTS) * 7 * DAY_SLOTS + 4 * DAY_SLOTS  # the epoch was a Thursday


def measure(simulation: Simulation) -> list[Figure]:
    """Both, from the same simulated weeks: at their end all stop, at midnight, and again at half past ten."""
    resting, steady = simulation.amount(4, 72), simulation.amount(4, 18)
    judged_days = simulation.amount(7, 14)
    days = HISTORY_DAYS + judged_days
    rng = simulation.random("silence")
    each = [resting if number < RESTING else steady for number in range(len(KINDS))]
    kinds = np.repeat(np.arange(len(KINDS)), each)
    rule, policy = SilenceRule.of(len(kinds)), SilencePolicy()
    alarms = np.zeros(len(kinds), np.int64)
    before = np.zeros(len(kinds), np.bool_)
    for day in range(days):
        rates = np.stack([rates_of_day(rng, KINDS[kind], day) for kind in kinds])
        for slot, events in day_of_slots(rng, rates, day):
            rule.fold(Block.counted(slot, events), policy)
            now = rule.silent()
            alarms += now & ~before
            before = now
    by_kind = {name: int(alarms[kinds == number].sum()) for number, name in enumerate(KINDS)}
    total = int(alarms.sum())
    step_days = {name: judged_days * count for name, count in zip(KINDS, each, strict=True)}
    at_midnight = _stop(rng, deepcopy(rule), kinds, days, 0)
    amid_work = _stop(rng, _morning(rng, rule, kinds, days), kinds, days, WORKING_SLOT)
    detail: dict[str, Any] = {name: spread(at_midnight[kinds == number]) for number, name in enumerate(KINDS)}
    detail["office hours, at half past ten"] = spread(amid_work[kinds == 1])
    p99 = detail["steady 1/s"]["p99"]
    return [
        Figure("silence_p99_s_at_1_per_s", p99, "s", f"<= {BOUND_S}", p99 <= BOUND_S, detail),
        Figure(
            "silence_false_alarms",
            total,
            "alarms",
            "== 0",
            not total,
            {"step_days": step_days, "alarms": by_kind},
        ),
    ]


def day_of_slots(rng: np.random.Generator, rates: Floats, day: int) -> Iterator[tuple[int, Floats]]:
    """Each slot of a day, and the events of every step in it."""
    for hour in range(24):
        part = slice(hour * HOUR_SLOTS, (hour + 1) * HOUR_SLOTS)
        events = rng.poisson(rates[:, part]).astype(float)
        for number in range(HOUR_SLOTS):
            yield MONDAY + day * DAY_SLOTS + hour * HOUR_SLOTS + number, events[:, number]


def rates_of_day(rng: np.random.Generator, kind: str, day: int) -> Floats:
    """Events a slot over one day, which begins at midnight; `day` 0 is a Monday."""
    hours = np.arange(DAY_SLOTS) / HOUR_SLOTS
    if kind == "nightly":
        begin = 2 + rng.uniform(-0.4, 0.4)
        return (
            np.where((hours >= begin) & (hours < begin + rng.uniform(0.3, 2)), rng.uniform(0.5, 3), 0.0)
            * SLOT_S
        )
    if kind == "office hours":
        if day % 7 >= 5:
            return np.zeros(DAY_SLOTS)
        begin, end = 8 + rng.uniform(-0.4, 0.4), 18 + rng.uniform(-0.7, 0.7)
        busy = rng.uniform(0.1, 1) * np.where((hours > 12) & (hours < 13), 0.3, 1.0)
        return np.where((hours >= begin) & (hours < end), busy, 0.0) * SLOT_S
    if kind == "every 5 min":
        return np.where((np.arange(DAY_SLOTS) + int(rng.integers(0, 4))) % 60 == 0, 3.0, 0.0)
    return np.full(DAY_SLOTS, float(kind.split()[1].removesuffix("/s")) * SLOT_S)


def _morning(rng: np.random.Generator, rule: SilenceRule, kinds: Ints, day: int) -> SilenceRule:
    """The rule after the morning of one more day."""
    rates = np.stack([rates_of_day(rng, KINDS[kind], day) for kind in kinds])
    for slot, events in day_of_slots(rng, rates, day):
        if slot == MONDAY + day * DAY_SLOTS + WORKING_SLOT:
            break
        rule.fold(Block.counted(slot, events), SilencePolicy())
    return rule


def _stop(rng: np.random.Generator, rule: SilenceRule, kinds: Ints, day: int, slot: int) -> Floats:
    """Seconds until each is said to be silent that has its last event at a random time of this slot of the day."""
    onset = rng.uniform(0, SLOT_S, len(kinds))
    lag = rng.uniform(*WATERMARK_LAG_S, len(kinds))
    found = np.full(len(kinds), np.nan)
    first = MONDAY + day * DAY_SLOTS + slot
    rule.fold(Block.counted(first, np.ones(len(kinds))), SilencePolicy())
    for number in range(1, 3 * DAY_SLOTS):
        rule.fold(Block.counted(first + number, np.zeros(len(kinds))), SilencePolicy())
        new = rule.silent() & np.isnan(found)
        found[new] = (number + 1) * SLOT_S - onset[new] + lag[new]
        if not np.isnan(found).any():
            break
    return found
