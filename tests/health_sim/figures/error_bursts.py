"""Five errors at once, three times a day, are no outage."""

from __future__ import annotations

import numpy as np

from bench.figure import Figure
from health_sim.simulation import DAY_SLOTS, ErrorWorld, Simulation
from steptrail.consumers.health.rules.columns import Ints

BURSTS = 3
ERRORS = 5
NEAR_SLOTS = 12


def measure(simulation: Simulation) -> list[Figure]:
    """Days at 1 execution a second and 1 %; each burst lies within 5 s, anywhere across the border of two slots.

    They come when they come, so on some days two of them fall into the same minute: that is one of ten errors, which
    is another thing. An alarm after such a pair is counted apart.
    """
    days = simulation.amount(100, 1000)
    rng = simulation.random("bursts")
    world = ErrorWorld(rng, np.full(days, 1.0))
    extra = np.zeros((DAY_SLOTS + 1, days))
    begun = np.zeros((DAY_SLOTS + 1, days), np.int64)
    for day in range(days):
        for at in rng.integers(0, DAY_SLOTS, BURSTS):
            first = rng.binomial(ERRORS, rng.uniform())
            extra[at, day] += first
            extra[at + 1, day] += ERRORS - first
            begun[at, day] += 1
    alarms = after_pairs = 0
    before = np.zeros(days, np.bool_)
    for slot in range(DAY_SLOTS):
        now = world.pass_slot(0.01, extra[slot]) > 0
        paired = begun[max(0, slot - NEAR_SLOTS) : slot + 1].sum(axis=0) > 1
        alarms += int((now & ~before & ~paired).sum())
        after_pairs += int((now & ~before & paired).sum())
        before = now
    detail = {
        "step_days": days,
        "pairs_of_bursts_within_a_minute": int((_within(begun, NEAR_SLOTS) > 1).any(axis=0).sum()),
        "alarms_after_such_a_pair": after_pairs,
    }
    return [Figure("error_burst_false_alarms", alarms, "alarms", "== 0", alarms == 0, detail)]


def _within(begun: Ints, slots: int) -> Ints:
    sums = np.cumsum(np.vstack([np.zeros((slots + 1, begun.shape[1]), np.int64), begun]), axis=0)
    found: Ints = sums[slots + 1 :] - sums[: -slots - 1]
    return found
