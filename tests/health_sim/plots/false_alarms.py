"""False alarms in 1,000 days: two fixed windows, and ours."""

from __future__ import annotations

import numpy as np

from health_sim.figures.error_false_alarms import RATES, SHARES
from health_sim.figures.fixed_window import AT_LEAST, false_alarms
from health_sim.plotting import FOURTH, OTHER, OURS, Canvas
from health_sim.simulation import DAY_SLOTS, ErrorWorld, Simulation


def draw(simulation: Simulation, canvas: Canvas) -> None:
    """Bars by rate, one panel for each normal share of failures."""
    each = simulation.amount(20, 200)
    rates = np.repeat(np.tile(RATES, len(SHARES)), each)
    shares = np.repeat(SHARES, each * len(RATES))
    ours = ErrorWorld(simulation.random("plot false alarms"), rates).pass_slots(DAY_SLOTS, shares)
    windows = false_alarms(simulation, each)
    with canvas.axes(1, 2, height=2.7, sharey=True) as axes:
        for panel, share in zip(axes, SHARES, strict=True):
            bars = [
                ("10 % in 5 min, for 1 min", OTHER, list(windows["any number"][f"{share:.0%}"].values())),
                (
                    f"and at least {AT_LEAST} executions",
                    FOURTH,
                    list(windows[f"at least {AT_LEAST}"][f"{share:.0%}"].values()),
                ),
                (
                    "steptrail",
                    OURS,
                    [float(ours[(rates == rate) & (shares == share)].sum()) * 1000 / each for rate in RATES],
                ),
            ]
            for number, (label, color, values) in enumerate(bars):
                places = np.arange(len(RATES)) + 0.28 * (number - 1)
                panel.bar(places, values, width=0.26, color=color, label=label)
                for place, value in zip(places, values, strict=True):
                    if not value:
                        panel.annotate("0", (place, 1.15), ha="center", fontsize=7, color=color)
            panel.set_yscale("log")
            panel.set(ylim=(1, 3e5), xlabel="executions a second", title=f"a constant {share:.0%} fail")
            panel.set_xticks(range(len(RATES)), [f"{rate:g}" for rate in RATES])
            panel.grid(axis="x", visible=False)
            panel.minorticks_off()
        axes[0].set_ylabel("false alarms in 1,000 days")
        axes[0].legend(fontsize=8)
