"""Shares that hover at the thresholds for a whole day: how often does the verdict change on the worst one?"""

from __future__ import annotations

import numpy as np

from bench.figure import Figure
from health_sim.simulation import DAY_SLOTS, HOUR_SLOTS, ErrorWorld, Simulation

BOUND = 60
RATES = (0.1, 1.0, 10.0, 100.0)
CONSTANT = (0.08, 0.10, 0.11, 0.12, 0.13, 0.14, 0.16, 0.20, 0.45, 0.50, 0.55)
SWINGS = ((0.05, 0.20), (0.01, 0.30), (0.10, 0.15), (0.40, 0.60))
PERIODS_S = (180, 300, 900, 3700, 7200)


def measure(simulation: Simulation) -> list[Figure]:
    """Constant shares, and shares that swing (smoothly, or on and off) between two values."""
    each = simulation.amount(1, 8)
    kinds = [("constant", share, share, 1.0) for share in CONSTANT]
    kinds += [
        (kind, *swing, period) for kind in ("sine", "square") for swing in SWINGS for period in PERIODS_S
    ]
    rates = np.repeat(np.tile(RATES, len(kinds)), each)
    which = np.repeat(np.arange(len(kinds)), each * len(RATES))
    rng = simulation.random("transitions")
    low, high, period = (np.array([kind[n] for kind in kinds])[which] for n in (1, 2, 3))
    square = np.array([kind[0] == "square" for kind in kinds])[which]
    phase = rng.uniform(0, 2 * np.pi, len(which))
    world = ErrorWorld(rng, rates)
    world.pass_slots(2 * HOUR_SLOTS, 0.01)
    changes = np.zeros(len(which), np.int64)
    level = world.rule.alarm.level.astype(np.int64)
    for slot in range(DAY_SLOTS):
        wave = np.sin(phase + 2 * np.pi * slot * 5 / period)
        wave = np.where(square, np.sign(wave), wave)
        now = world.pass_slot((low + high) / 2 + wave * (high - low) / 2)
        changes += now != level
        level = now
    worst = int(np.argmax(changes))
    kind, *numbers = kinds[which[worst]]
    detail = {
        "step_days": len(which),
        "worst": {
            "kind": kind,
            "low": numbers[0],
            "high": numbers[1],
            "period_s": numbers[2],
            "rate": rates[worst],
        },
        "median": float(np.median(changes)),
    }
    value = int(changes[worst])
    return [Figure("error_transitions_worst_day", value, "changes", f"<= {BOUND}", value <= BOUND, detail)]
