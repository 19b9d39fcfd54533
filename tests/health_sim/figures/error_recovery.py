"""Ten minutes at 20 %, then 1 % again: how long until it is said to be over?"""

from __future__ import annotations

import numpy as np

from bench.figure import Figure
from health_sim.simulation import HOUR_SLOTS, ErrorWorld, Simulation, spread

BOUND_S = 300


def measure(simulation: Simulation) -> list[Figure]:
    """At 10 executions a second; slower ones and a normal of 5 % beside it."""
    trials = simulation.amount(500, 2000)
    detail = {}
    for name, rate, normal in (("10/s", 10.0, 0.01), ("10/s, normal 5 %", 10.0, 0.05), ("1/s", 1.0, 0.01)):
        world = ErrorWorld(simulation.random(f"recovery {name}"), np.full(trials, rate))
        world.pass_slots(2 * HOUR_SLOTS, normal)
        world.pass_slots(120, 0.20 if normal < 0.05 else 0.40)
        alarmed = int((world.rule.alarm.level > 0).sum())
        detail[name] = {**spread(world.until(False, normal, 0.20, 1440)), "alarmed": alarmed}
    p99 = detail["10/s"]["p99"]
    return [Figure("error_recovery_p99_s", p99, "s", f"<= {BOUND_S}", p99 <= BOUND_S, detail)]
