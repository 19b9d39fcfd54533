"""A step that fails every other five minutes: how the hold grows, and the verdict stays."""

from __future__ import annotations

import numpy as np

from health_sim.figures.fixed_window import AT_LEAST, FixedWindow
from health_sim.plotting import OTHER, OURS, WARNING, Canvas
from health_sim.simulation import HOUR_SLOTS, ErrorWorld, Simulation
from steptrail.consumers.health.rules.slots import SLOT_S

RATE, GOOD, BAD = 10.0, 0.01, 0.30
BAD_SLOTS, GOOD_SLOTS, TIMES = 60, 60, 16
AFTER = HOUR_SLOTS + 240


def draw(simulation: Simulation, canvas: Canvas) -> None:
    """The share that fails by minute, and beneath it when each of the two says that something is wrong."""
    world = ErrorWorld(simulation.random("plot recovery"), np.array([RATE]))
    window = FixedWindow(1, AT_LEAST)
    world.pass_slots(2 * HOUR_SLOTS, GOOD)
    shares, ours, fixed = list[float](), list[bool](), list[bool]()
    slots = TIMES * (BAD_SLOTS + GOOD_SLOTS) + AFTER
    failed = ended = 0.0
    for slot in range(-60, slots):
        troubled = 0 <= slot < TIMES * (BAD_SLOTS + GOOD_SLOTS)
        bad = troubled and slot % (BAD_SLOTS + GOOD_SLOTS) < BAD_SLOTS
        ours.append(bool(world.pass_slot(BAD if bad else GOOD)[0] > 0))
        fixed.append(bool(window.fold(world.failed, world.ended)[0]))
        failed, ended = failed + world.failed[0], ended + world.ended[0]
        if slot % 12 == 11:
            shares.append(failed / ended)
            failed = ended = 0.0
    hours = np.arange(-60, slots) * SLOT_S / 3600
    with canvas.axes(2, 1, height=3.0, sharex=True, height_ratios=(1.6, 1)) as axes:
        minutes = np.arange(len(shares)) / 60 - 1 / 12
        axes[0].plot(minutes, 100 * np.array(shares), color=OTHER, drawstyle="steps-post", linewidth=0.9)
        axes[0].set(ylabel="failed, % by minute", ylim=(0, 40))
        for place, said, color in ((1, ours, WARNING), (0, fixed, OTHER)):
            edges = np.flatnonzero(np.diff(np.array([False, *said, False]).astype(int)))
            spans = [
                (hours[b], (e - b) * SLOT_S / 3600) for b, e in zip(edges[::2], edges[1::2], strict=True)
            ]
            axes[1].broken_barh(spans, (place - 0.3, 0.6), color=color)
            times = "once" if len(spans) == 1 else f"{len(spans)} times"
            axes[1].annotate(times, (hours[-1], place), ha="right", va="center", fontsize=8)
        axes[1].set_yticks([0, 1], ["10 % in 5 min", "steptrail"])
        axes[1].set(xlabel="hours", ylim=(-0.6, 1.6))
        axes[1].get_yticklabels()[1].set_color(OURS)
