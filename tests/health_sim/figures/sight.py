"""A partition that stays behind, a broker that goes away: how long until everything is UNKNOWN?"""

from __future__ import annotations

from bench.figure import Figure, percentile
from health_sim.simulation import Simulation
from support.watermark_world import WatermarkWorld

BOUND_S = 70


def measure(simulation: Simulation) -> list[Figure]:
    """Each begins in a world without trouble; the verdict is asked for four times a second."""
    trials = simulation.amount(20, 200)
    times: dict[str, list[float]] = {"partition behind": [], "broker away": []}
    for kind, found in times.items():
        for number in range(trials):
            world = WatermarkWorld(simulation.seed * 1_000_000 + number, trouble=0.0)
            world.partitions[0].rate = 8.0
            world.run(60)
            if world.sight.blindness is not None:
                raise RuntimeError("an untroubled world is blind after a minute")
            begin = world.now
            if kind == "broker away":
                world.cut_off()
            else:
                world.partitions[0].stands_until = float("inf")
            while world.sight.blindness is None and world.now < begin + 300:
                world.tick()
            found.append(world.now - begin)
    detail = {kind: {"p50": percentile(found, 0.5), "max": max(found)} for kind, found in times.items()}
    worst = max(max(found) for found in times.values())
    return [Figure("time_to_unknown_s", worst, "s", f"<= {BOUND_S}", worst <= BOUND_S, detail)]
