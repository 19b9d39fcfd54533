"""Durations that grow: how long until it is said, by how much they do and how wide they are spread."""

from __future__ import annotations

import numpy as np

from health_sim.figures.durations import SIGMAS, DurationWorld
from health_sim.plotting import FOURTH, OTHER, OURS, Canvas
from health_sim.simulation import HOUR_SLOTS, Simulation

FACTORS = (1.25, 1.5, 2.0, 3.0, 4.0)
HOUR_S = 3600.0


def draw(simulation: Simulation, canvas: Canvas) -> None:
    """Median and 99th percentile at 10 executions a second; what is not said within an hour is left out."""
    each = simulation.amount(20, 100)
    sigmas = np.repeat(SIGMAS, each)
    found = []
    for factor in FACTORS:
        rng = simulation.random(f"plot durations {factor}")
        world = DurationWorld(rng, np.full(len(sigmas), 10.0), sigmas, np.full(len(sigmas), 700.0))
        for _ in range(HOUR_SLOTS + 60):
            world.pass_slot(1.0)
        found.append(np.nan_to_num(world.until_slower(factor, HOUR_SLOTS), nan=np.inf))
    with canvas.axes(height=2.7) as axes:
        for sigma, color in zip(SIGMAS, (OURS, OTHER, FOURTH), strict=True):
            rows = [times[sigmas == sigma] for times in found]
            p50, p99 = (
                [float(np.percentile(row, share, method="inverted_cdf")) for row in rows]
                for share in (50, 99)
            )
            for style, values in (("o-", p50), ("--", p99)):
                shown = np.where(np.isfinite(values), values, np.nan)
                label = f"σ = {sigma:g}" if style == "o-" else None
                axes.plot(FACTORS, shown, style, color=color, markersize=3.5, label=label)
        axes.plot([], [], "k--", linewidth=0.9, label="99th percentile")
        axes.set(yscale="log", xlabel="durations times", ylabel="until it is said", ylim=(10, HOUR_S))
        axes.set_yticks([10, 30, 60, 300, 1800], ["10 s", "30 s", "1 min", "5 min", "30 min"])
        axes.set_xticks(FACTORS, [f"{factor:g}" for factor in FACTORS])
        axes.minorticks_off()
        axes.legend()
