"""The score of the error rule before, in and after five minutes at 20 %."""

from __future__ import annotations

import numpy as np

from health_sim.plotting import CRITICAL, OTHER, OURS, WARNING, Canvas
from health_sim.simulation import HOUR_SLOTS, ErrorWorld, Simulation
from steptrail.consumers.health.rules.kinds.errors import ErrorPolicy
from steptrail.consumers.health.rules.slots import SLOT_S

RATES = (10.0, 1.0)
BEFORE, TROUBLE, AFTER = 24, 60, 84
"""Slots."""


def draw(simulation: Simulation, canvas: Canvas) -> None:
    """Failures by slot above, the score beneath."""
    limit = float(ErrorPolicy().limit)
    with canvas.axes(2, 2, height=3.6, sharex=True, height_ratios=(1, 1.6)) as axes:
        for column, rate in enumerate(RATES):
            world = ErrorWorld(simulation.random(f"plot score {rate:g}"), np.array([rate]))
            world.pass_slots(6 * HOUR_SLOTS, 0.01)
            failed, scores, levels = list[float](), list[float](), list[int]()
            for slot in range(BEFORE + TROUBLE + AFTER):
                levels.append(int(world.pass_slot(0.20 if BEFORE <= slot < BEFORE + TROUBLE else 0.01)[0]))
                failed.append(world.failed[0])
                scores.append(float(world.rule.cusum.score[0]))
            times = (np.arange(len(scores)) + 1 - BEFORE) * SLOT_S / 60
            upper, lower = axes[0][column], axes[1][column]
            edges = np.append(times - SLOT_S / 60, times[-1])
            upper.stairs(failed, edges, fill=True, color=OTHER)
            lower.plot(times, scores, color=OURS)
            lower.axhline(limit, color=CRITICAL, linewidth=0.9, linestyle="--")
            lower.fill_between(
                times, 0, 2 * limit, where=np.array(levels) > 0, color=WARNING, alpha=0.35, step="pre"
            )
            upper.set_title(f"{rate:g} a second, 5 minutes at 20 %", fontsize=9)
            lower.set(xlabel="minutes", ylim=(0, 2.05 * limit))
        axes[0][0].set_ylabel("failures in 5 s")
        axes[1][0].set_ylabel("score S")
        axes[1][1].annotate("h = 18", (6.2, limit + 0.7), color=CRITICAL, fontsize=8)
