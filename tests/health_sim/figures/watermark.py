"""Random interleavings of partitions: is a slot ever folded before it is complete?"""

from __future__ import annotations

from bench.figure import Figure
from health_sim.simulation import Simulation
from support.watermark_world import WatermarkWorld


def measure(simulation: Simulation) -> list[Figure]:
    """Lagging, resting and leaderless partitions, open transactions, new partitions, brokers that are away."""
    worlds = simulation.amount(40, 300)
    folded = incomplete = greedy = healthy = intervals = 0
    for number in range(worlds):
        world = WatermarkWorld(simulation.seed * 1_000_000 + number)
        world.run(600)
        folded += world.folded
        incomplete += world.incomplete
        greedy += world.greedy_incomplete
        healthy += world.healthy_while_behind
        intervals += len(world.blind)
    detail = {
        "interleavings": worlds,
        "slots": folded,
        "records_too_late_for_a_maximum_over_partitions": greedy,
        "blind_intervals": intervals,
    }
    return [
        Figure("watermark_incomplete_slots", incomplete, "records", "== 0", incomplete == 0 < folded, detail),
        Figure("healthy_said_while_blind", healthy, "times", "== 0", healthy == 0, {"interleavings": worlds}),
    ]
