"""Durations double: how long until it is said? And days on which they do not."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bench.figure import Figure
from health_sim.simulation import DAY_SLOTS, FIRST_SLOT, HOUR_SLOTS, WATERMARK_LAG_S, Simulation, spread
from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.columns import Floats
from steptrail.consumers.health.rules.kinds.durations import DurationPolicy, DurationRule
from steptrail.consumers.health.rules.sketch import BINS, BinnedDurations, bin_of
from steptrail.consumers.health.rules.slots import SLOT_S

SIGMAS = (0.5, 0.75, 1.0)
BOUND_S = 120
MEDIANS_MS = (3.0, 700.0, 45_000.0)
_TABLE = 1 << 16


class DurationWorld:
    """Steps with lognormal durations, drawn by a table of 65,536 quantiles and folded into the real rule."""

    def __init__(self, rng: np.random.Generator, rates: Floats, sigmas: Floats, medians_ms: Floats) -> None:
        self.rng, self.per_slot = rng, rates * SLOT_S
        self.rule, self.policy, self.slot = DurationRule.of(len(rates)), DurationPolicy(), FIRST_SLOT
        self._none = np.zeros(len(rates))
        self._shapes = list(zip(medians_ms, sigmas, strict=True))
        self._quantiles = _normal_quantiles()
        self._tables: dict[float, npt.NDArray[np.uint8]] = {}

    def pass_slot(self, factor: float) -> npt.NDArray[np.bool_]:
        """One slot with all durations times `factor`; return who is alarmed after it."""
        if factor not in self._tables:
            drawable = [bin_of(factor * m * np.exp(s * self._quantiles)) for m, s in self._shapes]
            self._tables[factor] = np.stack(drawable).astype(np.uint8)
        counts = self.rng.poisson(self.per_slot)
        rows = np.repeat(np.arange(len(counts)), counts)
        bins = self._tables[factor][rows, self.rng.integers(0, _TABLE, len(rows), np.uint16)]
        times = np.bincount(rows * BINS + bins, minlength=len(counts) * BINS)
        codes = np.flatnonzero(times)
        binned = BinnedDurations(codes // BINS, codes % BINS, times[codes].astype(float))
        self.rule.fold(Block.counted(self.slot, self._none, durations=binned), self.policy)
        self.slot += 1
        alarmed: npt.NDArray[np.bool_] = self.rule.alarm.level > 0
        return alarmed

    def until_slower(self, factor: float, slots: int) -> Floats:
        """Seconds until each is said to be slower, its durations having changed at a random time; the watermark's
        lag is in it. NaN where that is not said within `slots`. A slot is long compared with an execution here:
        those of the slot of the change are taken as before it.
        """
        count = len(self.per_slot)
        onset, lag = self.rng.uniform(0, SLOT_S, count), self.rng.uniform(*WATERMARK_LAG_S, count)
        found = np.full(count, np.nan)
        for number in range(1, slots):
            new = self.pass_slot(factor) & np.isnan(found)
            found[new] = number * SLOT_S + onset[new] + lag[new]
            if not np.isnan(found).any():
                break
        return found


def measure(simulation: Simulation) -> list[Figure]:
    """Detection at 10 executions a second by the width of the distribution; false alarms by rate."""
    return [_detection(simulation), _false_alarms(simulation)]


def _detection(simulation: Simulation) -> Figure:
    each = simulation.amount(100, 300)
    sigmas = np.repeat(SIGMAS, each)
    rng = simulation.random("durations detection")
    world = DurationWorld(rng, np.full(len(sigmas), 10.0), sigmas, np.full(len(sigmas), 700.0))
    for _ in range(HOUR_SLOTS + 60 + simulation.amount(0, 3 * HOUR_SLOTS)):
        world.pass_slot(1.0)
    early = int((world.rule.alarm.level > 0).sum())
    found = world.until_slower(2.0, 120)
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
    by_rate = {
        10.0: simulation.amount(9, 1000),
        1.0: simulation.amount(9, 500),
        0.1: simulation.amount(9, 500),
    }
    rng = simulation.random("durations false alarms")
    rates = np.repeat(list(by_rate), list(by_rate.values()))
    number = np.arange(len(rates))
    sigmas, medians = np.array(SIGMAS)[number % 3], np.array(MEDIANS_MS)[number // 3 % 3]
    world = DurationWorld(rng, rates, sigmas, medians)
    alarms = np.zeros(len(rates), np.int64)
    before = np.zeros(len(rates), np.bool_)
    for _ in range(DAY_SLOTS):
        now = world.pass_slot(1.0)
        alarms += now & ~before
        before = now
    total = int(alarms.sum())
    detail = {
        "step_days": len(rates),
        "by_rate": {
            f"{rate:g}/s": {"step_days": days, "alarms": int(alarms[rates == rate].sum())}
            for rate, days in by_rate.items()
        },
    }
    return Figure("durations_false_alarms", total, "alarms", "== 0", total == 0, detail)


def _normal_quantiles() -> Floats:
    """z of (i + 0.5) / 65,536, by inverting the distribution on a fine grid."""
    grid = np.linspace(-6, 6, 200_001)
    cumulated = 0.5 * (1 + np.vectorize(math.erf)(grid / math.sqrt(2)))
    return np.interp((np.arange(_TABLE) + 0.5) / _TABLE, cumulated, grid)
