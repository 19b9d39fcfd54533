"""The share of failures rises from 1 to 20 %: how long until it is said?"""

from __future__ import annotations

import numpy as np

from bench.figure import Figure
from health_sim.simulation import DAY_SLOTS, HOUR_SLOTS, ErrorWorld, Simulation, spread

CASES = ((10.0, 2 * HOUR_SLOTS, 30), (1.0, 6 * HOUR_SLOTS, 180), (0.1, DAY_SLOTS, 1800))
"""Executions a second, slots before it happens, seconds allowed."""


def measure(simulation: Simulation) -> list[Figure]:
    """One figure for each rate; the watermark's lag is in them."""
    trials = simulation.amount(1000, 5000)
    figures = []
    for rate, warm_up, bound in CASES:
        world = ErrorWorld(simulation.random(f"detection {rate}"), np.full(trials, rate))
        early = int((world.pass_slots(warm_up, 0.01) > 0).sum())
        times = spread(world.until(True, 0.20, 0.01, 4 * bound))
        detail = {**times, "rate_per_s": rate, "false_alarms_before": early}
        name = f"error_detection_p99_s_at_{rate:g}_per_s"
        figures.append(
            Figure(name, times["p99"], "s", f"<= {bound}", times["p99"] <= bound and not early, detail)
        )
    return figures
