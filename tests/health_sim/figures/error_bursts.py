"""Five errors at once, three times a day, are no outage."""

from __future__ import annotations

import numpy as np

from bench.figure import Figure
from health_sim.simulation import DAY_SLOTS, ErrorWorld, Simulation

BURSTS = 3
ERRORS = 5


def measure(simulation: Simulation) -> list[Figure]:
    """Days at 1 execution a second and 1 %; each burst lies within 5 s, anywhere across the border of two slots."""
    days = simulation.amount(100, 1000)
    rng = simulation.random("bursts")
    world = ErrorWorld(rng, np.full(days, 1.0))
    extra = np.zeros((DAY_SLOTS + 1, days))
    for day in range(days):
        for at in rng.integers(0, DAY_SLOTS, BURSTS):
            first = rng.binomial(ERRORS, rng.uniform())
            extra[at, day] += first
            extra[at + 1, day] += ERRORS - first
    alarms = 0
    before = np.zeros(days, np.bool_)
    for slot in range(DAY_SLOTS):
        now = world.pass_slot(0.01, extra[slot]) > 0
        alarms += int((now & ~before).sum())
        before = now
    return [Figure("error_burst_false_alarms", alarms, "alarms", "== 0", alarms == 0, {"step_days": days})]
