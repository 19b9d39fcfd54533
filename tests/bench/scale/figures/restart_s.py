"""The engine stopped and started again: how long until it answers a question about the events."""

from __future__ import annotations

from bench.figure import Figure
from bench.scale.world import World


def measure(world: World) -> Figure:
    """From the start of the process to the first answer; how long stopping took and memory after it beside it."""
    before_mb = world.memory_mb()
    stopped_s = world.stop()
    ready_s = world.start()
    return Figure(
        "restart_s",
        ready_s,
        "s",
        "",
        True,
        {"stop_s": stopped_s, "memory_before_mb": before_mb, "memory_after_mb": world.memory_mb()},
    )
