"""A step starts cold; its successes take minutes, its few failures a second: the first endings are all failures."""

from __future__ import annotations

import math

import numpy as np

from bench.figure import Figure
from health_sim.simulation import FIRST_SLOT, Simulation
from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.kinds.errors import ErrorPolicy, ErrorRule
from steptrail.consumers.health.rules.slots import SLOT_S

STARTS = 100
CASES = ((10.0, 120.0), (10.0, 900.0), (1.0, 300.0), (100.0, 60.0))
"""Started a second, median seconds of a success."""


def measure(simulation: Simulation) -> list[Figure]:
    """A hundred cold starts, a quarter of each kind, for an hour and the successes' own time."""
    rng = simulation.random("cold start")
    which = np.arange(STARTS) % len(CASES)
    rates = np.array([rate for rate, _ in CASES])[which]
    medians = np.array([median for _, median in CASES])[which]
    rule, policy = ErrorRule.of(STARTS), ErrorPolicy()
    alarmed = np.zeros(STARTS, np.bool_)
    done = np.vectorize(lambda z: 0.5 * (1 + math.erf(z / math.sqrt(2))))
    for number in range(720 + 180):
        ended_share = done(np.log(np.maximum(number * SLOT_S, 1) / medians) / 0.5)
        started = rng.poisson(rates * SLOT_S).astype(float)
        failed = rng.poisson(rates * SLOT_S * 0.01).astype(float)
        succeeded = rng.poisson(rates * SLOT_S * 0.99 * ended_share).astype(float)
        rule.fold(Block.counted(FIRST_SLOT + number, started, succeeded, failed), policy)
        alarmed |= rule.alarm.level > 0
    alarms = int(alarmed.sum())
    return [Figure("cold_start_false_alarms", alarms, "of 100", "== 0", alarms == 0, {"cases": CASES})]
