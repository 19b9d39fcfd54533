"""How quiet a step of office hours may be at each hour of the week, as learned."""

from __future__ import annotations

import numpy as np

from health_sim.figures.silence import HISTORY_DAYS, MONDAY, day_of_slots, rates_of_day
from health_sim.plotting import OTHER, OURS, WARNING, Canvas
from health_sim.simulation import DAY_SLOTS, HOUR_SLOTS, Simulation
from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.kinds.silence import NEVER, SilencePolicy, SilenceRule
from steptrail.consumers.health.rules.slots import SLOT_S


def draw(simulation: Simulation, canvas: Canvas) -> None:
    """One step, for a week after three weeks of history: its events an hour, its limit, and how quiet it was."""
    rng = simulation.random("plot silence")
    rule, policy = SilenceRule.of(1), SilencePolicy()
    events, limits, quiet = list[float](), list[float](), list[float]()
    for day in range(HISTORY_DAYS + 14):
        for slot, counts in day_of_slots(rng, np.stack([rates_of_day(rng, "office hours", day)]), day):
            rule.fold(Block.counted(slot, counts), policy)
            if slot < MONDAY + (HISTORY_DAYS + 7) * DAY_SLOTS:
                continue
            if slot % HOUR_SLOTS == 0:
                events.append(0.0)
                quiet.append(0.0)
                limit = int(rule.pauses.limit[0])
                limits.append(limit * SLOT_S / 60 if limit < NEVER else np.nan)
            events[-1] += float(counts[0])
            quiet[-1] = max(quiet[-1], int(slot - rule.pauses.latest[0]) * SLOT_S / 60)
    hours = np.arange(len(limits) + 1) / 24
    with canvas.axes(2, 1, height=3.4, sharex=True, height_ratios=(1, 2)) as axes:
        axes[0].stairs(events, hours, fill=True, color=WARNING)
        axes[0].set_ylabel("events an hour")
        axes[1].stairs(
            limits, hours, baseline=None, color=OURS, linewidth=1.4, label="too quiet from here on"
        )
        axes[1].stairs(
            np.maximum(quiet, 0.1), hours, baseline=None, color=OTHER, label="longest quiet that there was"
        )
        axes[1].set(yscale="log", ylim=(0.1, 200_000))
        axes[1].set_yticks([1, 10, 60, 600, 4320], ["1 min", "10 min", "1 h", "10 h", "3 days"])
        axes[1].set_xticks(np.arange(7) + 0.5, ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
        axes[1].minorticks_off()
        axes[1].legend(fontsize=8, ncols=2, loc="upper left")
