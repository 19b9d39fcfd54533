"""Time to detection against the rate of executions, for several sizes of trouble."""

from __future__ import annotations

import numpy as np

from health_sim.plotting import CRITICAL, FOURTH, OTHER, OURS, Canvas
from health_sim.simulation import DAY_SLOTS, ErrorWorld, Simulation

RATES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
SHARES = ((0.15, FOURTH), (0.20, OURS), (0.50, OTHER), (1.00, CRITICAL))


def draw(simulation: Simulation, canvas: Canvas) -> None:
    """Median and 99th percentile; each step has a day of 1 % behind it."""
    each = simulation.amount(50, 200)
    rates = np.tile(np.repeat(RATES, each), len(SHARES))
    shares = np.repeat([share for share, _ in SHARES], each * len(RATES))
    world = ErrorWorld(simulation.random("plot detection"), rates)
    world.pass_slots(simulation.amount(DAY_SLOTS // 4, DAY_SLOTS), 0.01)
    found = world.until(True, shares, 0.01, 6 * 720)
    with canvas.axes() as axes:
        for share, color in SHARES:
            times = np.nan_to_num(found[shares == share].reshape(len(RATES), each), nan=np.inf)
            p50, p99 = np.percentile(times, [50, 99], axis=1, method="inverted_cdf")
            axes.plot(RATES, p50, "o-", color=color, markersize=3.5, label=f"1 % → {share:.0%}")
            axes.plot(RATES, np.where(np.isfinite(p99), p99, np.nan), "--", color=color, linewidth=0.9)
        axes.set(xscale="log", yscale="log", xlabel="executions a second", ylabel="until it is said")
        axes.set_yticks([10, 30, 60, 300, 1800, 7200], ["10 s", "30 s", "1 min", "5 min", "30 min", "2 h"])
        axes.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        axes.minorticks_off()
        axes.plot([], [], "k--", linewidth=0.9, label="99th percentile")
        axes.legend()
