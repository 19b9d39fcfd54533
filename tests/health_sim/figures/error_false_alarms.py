"""Days at a constant share of failures, from the first execution on: nothing is wrong, and nothing must be said."""

from __future__ import annotations

import numpy as np

from bench.figure import Figure
from health_sim.simulation import DAY_SLOTS, ErrorWorld, Simulation

RATES = (0.01, 0.1, 1.0, 10.0, 100.0)
SHARES = (0.01, 0.05)


def measure(simulation: Simulation) -> list[Figure]:
    """1,000 step-days of each rate at each share (the quick form: 60)."""
    each = simulation.amount(60, 1000)
    rates = np.repeat(np.tile(RATES, len(SHARES)), each)
    shares = np.repeat(SHARES, each * len(RATES))
    world = ErrorWorld(simulation.random("false alarms"), rates)
    alarms = world.pass_slots(DAY_SLOTS, shares)
    figures = []
    for share in SHARES:
        by_rate = {f"{rate:g}/s": int(alarms[(rates == rate) & (shares == share)].sum()) for rate in RATES}
        total = sum(by_rate.values())
        detail = {"step_days": each * len(RATES), "by_rate": by_rate}
        name = f"error_false_alarms_at_{share:.0%}".replace("%", "_percent")
        figures.append(Figure(name, total, "alarms", "== 0", total == 0, detail))
    return figures
