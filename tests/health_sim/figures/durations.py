"""Durations double: how long until it is said? And days on which they do not."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bench.figure import Figure
from health_sim.simulation import DAY_SLOTS, FIRST_SLOT, HOUR_SLOTS, WATERMARK_LAG_S, Simulation, spread
from steptrail.consumers.health.baseline import SLOT_S
from steptrail.consumers.health.columns import Floats, Ints
from steptrail.consumers.health.durations import DurationRule
from steptrail.consumers.health.policy import DurationPolicy
from steptrail.consumers.health.sketch import BINS, BinnedDurations, bin_of

SIGMAS = (0.5, 0.75, 1.0)
BOUND_S = 120
MEDIANS_MS = (3.0, 700.0, 45_000.0)
_TABLE = 1 << 16


class DurationWorld:
    """Steps with lognormal durations, drawn by a table of 65,536 quantiles and folded into the real rule."""

    def __init__(self, rng: np.random.Generator, rates: Floats, sigmas: Floats, medians_ms: Floats) -> None:
        self.rng, self.per_slot = rng, rates * SLOT_S
        self.rule, self.policy, self.slot = DurationRule.of(len(rates)), DurationPolicy(), FIRST_SLOT
        z = _normal_quantiles()
        self._tables = {
            factor: np.stack(
                [bin_of(factor * m * np.exp(s * z)) for m, s in zip(medians_ms, sigmas, strict=True)]
            ).astype(np.uint8)
            for factor in (1, 2)
        }

    def pass_slot(self, factor: Ints) -> npt.NDArray[np.bool_]:
        """One slot with durations times 1 or 2, step by step; return who is alarmed after it."""
        counts = self.rng.poisson(self.per_slot)
        rows = np.repeat(np.arange(len(counts)), counts)
        drawn = self.rng.integers(0, _TABLE, len(rows), np.uint16)
        bins = self._tables[1][rows, drawn].astype(np.int64)
        if (factor == 2).any():
            bins = np.where(factor[rows] == 2, self._tables[2][rows, drawn], bins)
        codes, times = np.unique(rows * BINS + bins, return_counts=True)
        binned = BinnedDurations(codes // BINS, codes % BINS, times.astype(float))
        self.rule.fold(self.slot, binned, self.policy)
        self.slot += 1
        alarmed: npt.NDArray[np.bool_] = self.rule.alarm.level > 0
        return alarmed


def measure(simulation: Simulation) -> list[Figure]:
    """Detection at 10 executions a second by the width of the distribution; false alarms by rate."""
    return [_detection(simulation), _false_alarms(simulation)]


def _detection(simulation: Simulation) -> Figure:
    each = simulation.amount(100, 700)
    sigmas = np.repeat(SIGMAS, each)
    rng = simulation.random("durations detection")
    world = DurationWorld(rng, np.full(len(sigmas), 10.0), sigmas, np.full(len(sigmas), 700.0))
    ones = np.ones(len(sigmas), np.int64)
    # A slot is long compared with an execution here: those of the slot of the change are taken as before it.
    for _ in range(HOUR_SLOTS + 60 + simulation.amount(0, 3 * HOUR_SLOTS)):
        world.pass_slot(ones)
    early = int((world.rule.alarm.level > 0).sum())
    onset, lag = rng.uniform(0, SLOT_S, len(sigmas)), rng.uniform(*WATERMARK_LAG_S, len(sigmas))
    found = np.full(len(sigmas), np.nan)
    for number in range(1, 120):
        new = world.pass_slot(2 * ones) & np.isnan(found)
        found[new] = number * SLOT_S + onset[new] + lag[new]
    detail = {f"sigma {sigma}": spread(found[sigmas == sigma]) for sigma in SIGMAS}
    worst = max(times["p99"] for times in detail.values())
    return Figure(
        "durations_doubled_p99_s",
        worst,
        "s",
        f"<= {BOUND_S}",
        worst <= BOUND_S and not early,
        {**detail, "false_alarms_before": early},
    )


def _false_alarms(simulation: Simulation) -> Figure:
    days = simulation.amount(27, 1000)
    rng = simulation.random("durations false alarms")
    number = np.arange(days)
    rates = np.array((10.0, 1.0, 0.1))[number // len(SIGMAS) % 3] if simulation.quick else np.full(days, 10.0)
    sigmas, medians = np.array(SIGMAS)[number % 3], np.array(MEDIANS_MS)[number // 9 % 3]
    world = DurationWorld(rng, rates, sigmas, medians)
    ones = np.ones(days, np.int64)
    alarms = 0
    before = np.zeros(days, np.bool_)
    for _ in range(DAY_SLOTS):
        now = world.pass_slot(ones)
        alarms += int((now & ~before).sum())
        before = now
    return Figure("durations_false_alarms", alarms, "alarms", "== 0", alarms == 0, {"step_days": days})


def _normal_quantiles() -> Floats:
    """z of (i + 0.5) / 65,536, by inverting the distribution on a fine grid."""
    grid = np.linspace(-6, 6, 200_001)
    cumulated = 0.5 * (1 + np.vectorize(math.erf)(grid / math.sqrt(2)))
    return np.interp((np.arange(_TABLE) + 0.5) / _TABLE, cumulated, grid)
