"""Where the rule's parameters are not those of its first design: both measured, for docs/decisions/0010.

    .venv/bin/python tests/health_sim/deviations.py [NAME …]

One JSON line for each way; seeded. `first design` has one thing put back to what it was, all else as it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from bench.figure import rounded
from health_sim.figures.durations import SIGMAS, DurationWorld
from health_sim.figures.silence import KINDS, day_of_slots, rates_of_day
from health_sim.simulation import HOUR_SLOTS, ErrorWorld, Simulation, spread
from steptrail.consumers.health.rules import cusum
from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.columns import Floats, Ints
from steptrail.consumers.health.rules.kinds.errors import ErrorPolicy
from steptrail.consumers.health.rules.kinds.silence import SilencePolicy, SilenceRule
from steptrail.consumers.health.rules.sketch import Sketch

SIMULATION = Simulation(quick=False, seed=1)
SILENCE_STEPS = 72


def slot_share() -> Iterator[tuple[str, Any]]:
    """How much a single slot may add to the score."""
    for name, share in (("first design: a third", 1 / 3), ("as it is: 0.4", 0.4), ("a half", 0.5)):
        policy = replace(ErrorPolicy(), slot_share=share)
        world = _errors("slot share", 10.0, 3000, policy)
        world.pass_slots(2 * HOUR_SLOTS, 0.01)
        yield (
            name,
            {
                "1 to 20 % at 10/s": spread(world.until(True, 0.20, 0.01, 120)),
                "alarms of 1,000 bursts at 1/s of 10, 15, 20 errors in 5 s": [
                    _bursts(policy, errors) for errors in (10, 15, 20)
                ],
            },
        )


def _bursts(policy: ErrorPolicy, errors: int) -> int:
    world = _errors(f"burst {errors}", 1.0, 1000, policy)
    world.pass_slots(2 * HOUR_SLOTS, 0.01)
    first = world.rng.binomial(errors, world.rng.uniform(size=1000)).astype(float)
    alarmed = np.zeros(1000, np.bool_)
    for number in range(24):
        extra = first if number == 0 else errors - first if number == 1 else 0.0
        alarmed |= world.pass_slot(0.01, extra) > 0
    return int(alarmed.sum())


def ceiling() -> Iterator[tuple[str, Any]]:
    """Whether the score may grow without end: half an hour of trouble, over whose last minutes it fades."""
    for name, limits in (("first design: no ceiling", 1e9), ("as it is: two limits", 2.0)):
        with _patched(cusum, "CEILING", limits):
            detail = {}
            for case, rate, bad in (
                ("20 % at 10/s", 10.0, 0.20),
                ("15 % at 100/s", 100.0, 0.15),
                ("20 % at 1/s", 1.0, 0.20),
            ):
                world = _errors(f"ceiling {case}", rate, 1000, ErrorPolicy(recovery_executions=30))
                world.pass_slots(2 * HOUR_SLOTS, 0.01)
                world.pass_slots(360, bad)
                detail[f"recovery from {case}"] = {
                    "score_in_limits": float(world.rule.cusum.score.max() / 18),
                    **spread(world.until(False, 0.01, bad, 720)),
                }
        yield name, detail


def recovery() -> Iterator[tuple[str, Any]]:
    """Which share is good enough, for a step that has 5 % of failures when all is well."""
    for name, margin in (("first design: 5 %", 0.0), ("as it is: 5 % or 1.25 of normal", 1.25)):
        detail = {}
        for normal in (0.03, 0.05, 0.08):
            policy = replace(ErrorPolicy(), recovery_margin=margin)
            world = _errors(f"recovery {normal}", 10.0, 1000, policy)
            world.pass_slots(4 * HOUR_SLOTS, normal)
            world.pass_slots(120, 0.50)
            detail[f"normal {normal:.0%}"] = spread(world.until(False, normal, 0.50, 1440))
        yield name, detail


def bins() -> Iterator[tuple[str, Any]]:
    """What of the 95th percentile's own bin counts as slow."""
    ways: list[tuple[str, Callable[..., Floats] | None]] = [
        ("first design: nothing of it", lambda sketch, found, share: np.zeros(len(found))),
        ("as it is: the part above the percentile", None),
        ("all of it", lambda sketch, found, share: np.ones(len(found))),
    ]
    for name, part in ways:
        with _patched(Sketch, "part_above", part or Sketch.part_above):
            sigmas = np.repeat(SIGMAS, 100)
            rng = SIMULATION.random("bins")
            world = DurationWorld(
                rng, np.full(len(sigmas), 10.0), sigmas, np.exp(rng.uniform(3, 9, len(sigmas)))
            )
            alarmed = np.zeros(len(sigmas), np.bool_)
            for _ in range(3 * HOUR_SLOTS):
                alarmed |= world.pass_slot(1.0)
            found = world.until_slower(2.0, 240)
            detail = {f"doubled, sigma {sigma}": spread(found[sigmas == sigma]) for sigma in SIGMAS}
            yield name, {"false alarms in 300 times 3 hours": int(alarmed.sum()), **detail}


class _HourOfWeekOnly(SilenceRule):
    """Without what the last hour says."""

    def limit_at(self, hour: int, policy: SilencePolicy) -> Ints:
        self.pauses.rate[:] = 0
        return super().limit_at(hour, policy)

    def fold(self, block: Block, policy: SilencePolicy) -> None:
        self.pauses.recent[:] = 0
        super().fold(block, policy)


def silence() -> Iterator[tuple[str, Any]]:
    """Whether the last hour has a say beside the hours of the week, and two parameters: after two weeks of history."""
    ways = {
        "first design: the hour of the week only": (
            _HourOfWeekOnly,
            SilencePolicy(pause_factor=3, expected=20),
        ),
        "as it is": (SilenceRule, SilencePolicy()),
        "with the last hour, pause_factor 3, expected 20": (
            SilenceRule,
            SilencePolicy(pause_factor=3, expected=20),
        ),
    }
    kinds = np.repeat(np.arange(len(KINDS)), SILENCE_STEPS)
    rules = {way: (kind.of(len(kinds)), policy) for way, (kind, policy) in ways.items()}
    alarms = {way: np.zeros(len(kinds), np.int64) for way in ways}
    before = {way: np.zeros(len(kinds), np.bool_) for way in ways}
    rng = SIMULATION.random("silence deviation")
    for day in range(28):
        rates = np.stack([rates_of_day(rng, KINDS[which], day) for which in kinds])
        for slot, events in day_of_slots(rng, rates, day):
            for way, (rule, policy) in rules.items():
                rule.fold(Block.counted(slot, events), policy)
                now = rule.silent()
                alarms[way] += now & ~before[way]
                before[way] = now
    for way in ways:
        counts = {kind: int(alarms[way][kinds == number].sum()) for number, kind in enumerate(KINDS)}
        yield way, {f"false alarms in {14 * SILENCE_STEPS} step-days of each": counts}


def _errors(name: str, rate: float, steps: int, policy: ErrorPolicy) -> ErrorWorld:
    world = ErrorWorld(SIMULATION.random(name), np.full(steps, rate))
    world.policy = policy
    return world


@contextmanager
def _patched(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


WAYS = {"slot_share": slot_share, "ceiling": ceiling, "recovery": recovery, "bins": bins, "silence": silence}


def main() -> None:
    """Measure those that are named, or all."""
    for name in sys.argv[1:] or WAYS:
        for way, detail in WAYS[name]():
            print(json.dumps({"parameter": name, "way": way, **rounded(detail)}), flush=True)


if __name__ == "__main__":
    main()
