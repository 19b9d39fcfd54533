"""What ten thousand steps with four weeks of history cost: in memory, and in a snapshot."""

from __future__ import annotations

import resource
import time

import numpy as np

from bench.figure import Figure
from health_sim.simulation import FIRST_SLOT, Simulation
from steptrail.consumers.health.rules import Judge, Slot, State, StepCounts
from steptrail.consumers.health.rules.hours import HOUR_SLOTS, WEEK_HOURS, WEEKS
from steptrail.consumers.health.rules.kinds.silence import SilenceRule
from steptrail.consumers.health.rules.sketch import bin_of

STEPS = 10_000
MEMORY_BOUND = 200
ERRORS_BOUND = 350
SLOT_BOUND_MS = 1000


def measure(simulation: Simulation) -> list[Figure]:
    """Every step busy in every slot, durations over three decades, hours of the week all noted."""
    rng = simulation.random("size")
    judge, slots = Judge(), simulation.amount(8, 60)
    medians = np.exp(rng.uniform(0, 8, STEPS))
    took = []
    for number in range(slots):
        slot = Slot(FIRST_SLOT + number)
        for step in range(STEPS):
            bins = bin_of(medians[step] * np.exp(rng.normal(0, 0.8, 4)))
            failed = int(rng.random() < 0.05)
            counts = StepCounts(started=5, succeeded=4, failed=failed)
            for found in bins.tolist():
                counts.durations[found] = counts.durations.get(found, 0) + 1
            slot.steps["pipeline", f"step-{step}"] = counts
        began = time.perf_counter()
        judge.fold(slot)
        took.append(1000 * (time.perf_counter() - began))
    _note_weeks(judge.state, rng)
    began = time.perf_counter()
    snapshot = judge.state.to_bytes()
    snapshot_s = time.perf_counter() - began
    whole = judge.state.nbytes() / 2**20
    groups = {
        f"{name}.{part}": sum(array.nbytes for _, array in columns.arrays()) / STEPS
        for name, group in judge.state.groups()
        for part, columns in group.columns()
    }
    errors = sum(size for name, size in groups.items() if name.startswith("errors."))
    detail = {
        "columns_mib": whole,
        "bytes_per_step": groups,
        "snapshot_bytes_per_step": len(snapshot) / STEPS,
        "peak_rss_of_the_simulation_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "snapshot_s": snapshot_s,
    }
    median = sorted(took)[len(took) // 2]
    return [
        Figure("state_mib_of_10000_steps", whole, "MiB", f"<= {MEMORY_BOUND}", whole <= MEMORY_BOUND, detail),
        Figure(
            "error_rule_bytes_per_step", errors, "bytes", f"<= {ERRORS_BOUND}", errors <= ERRORS_BOUND, {}
        ),
        # The quick form is a test, and no test depends on how fast a machine is.
        Figure("fold_slot_of_10000_steps_ms", median, "ms", "", True, {})
        if simulation.quick
        else Figure(
            "fold_slot_of_10000_steps_ms", median, "ms", f"<= {SLOT_BOUND_MS}", median <= SLOT_BOUND_MS, {}
        ),
    ]


def _note_weeks(state: State, rng: np.random.Generator) -> None:
    known = np.ones(STEPS, np.bool_)
    for hour in range(WEEKS * WEEK_HOURS):
        busy = 8 <= hour % 24 < 18
        quiet = rng.geometric(0.3 if busy else 0.002, STEPS)
        events = rng.poisson(HOUR_SLOTS if busy else 1, STEPS).astype(float)
        state.rule(SilenceRule).hours.note(hour, quiet, events, known)
