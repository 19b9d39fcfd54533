"""What all simulations share: the seed, how much is simulated, and a world of steps that succeed and fail."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.columns import Floats, Ints
from steptrail.consumers.health.rules.kinds.errors import ErrorPolicy, ErrorRule
from steptrail.consumers.health.rules.slots import SLOT_S

DAY_SLOTS = 86_400 // SLOT_S
HOUR_SLOTS = 3600 // SLOT_S
FIRST_SLOT = 1_700_000_000 // SLOT_S
WATERMARK_LAG_S = (2.5, 4.5)


@dataclass(frozen=True)
class Simulation:
    """How much is simulated, and from which seed."""

    quick: bool
    seed: int

    def random(self, name: str) -> np.random.Generator:
        """Randomness of its own for each figure, so that one does not change with another."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def amount(self, quick: int, full: int) -> int:
        """How many of something."""
        return quick if self.quick else full


class ErrorWorld:
    """Steps whose executions start, end and fail at random (Poisson), folded slot by slot into the real rule.

    `failed` and `ended` are the counts of the latest slot.
    """

    def __init__(self, rng: np.random.Generator, rates: Floats) -> None:
        self.rng = rng
        self.per_slot = rates * SLOT_S
        self.rule = ErrorRule.of(len(rates))
        self.policy = ErrorPolicy()
        self.slot = FIRST_SLOT
        self.failed = self.ended = np.zeros(len(rates))

    def pass_slot(self, share: Floats | float, extra_failed: Floats | float = 0.0) -> Ints:
        """One slot in which `share` of the executions fail, and `extra_failed` more do; return the levels after it."""
        failed = self.rng.poisson(self.per_slot * share) + np.asarray(extra_failed)
        succeeded = self.rng.poisson(self.per_slot * (1 - np.asarray(share))).astype(float)
        self.failed, self.ended = failed.astype(float), failed + succeeded
        self.rule.fold(Block.counted(self.slot, self.ended, succeeded, self.failed), self.policy)
        self.slot += 1
        return self.rule.alarm.level.astype(np.int64)

    def pass_slots(self, slots: int, share: Floats | float) -> Ints:
        """Many slots of the same; return how often each step's level rose from nothing."""
        alarms = np.zeros(len(self.per_slot), np.int64)
        before = self.rule.alarm.level > 0
        for _ in range(slots):
            now = self.pass_slot(share) > 0
            alarms += now & ~before
            before = now
        return alarms

    def until(self, alarmed: bool, share: Floats | float, before: float, slots: int) -> Floats:
        """Seconds until each step is alarmed (or is no more), the ratio having changed at a random time of a slot.

        The watermark's lag is in it; NaN where it did not happen within `slots`.
        """
        count = len(self.per_slot)
        onset = self.rng.uniform(0, 1, count)
        lag = self.rng.uniform(*WATERMARK_LAG_S, count)
        found = np.full(count, np.nan)
        for number in range(slots):
            ratio = share if number else share * (1 - onset) + before * onset
            new = ((self.pass_slot(ratio) > 0) == alarmed) & np.isnan(found)
            found[new] = (number + 1 - onset[new]) * SLOT_S + lag[new]
            if not np.isnan(found).any():
                break
        return found


def spread(times: Floats) -> dict[str, float | int]:
    """Percentiles of what happened, and how often it did not."""
    missed = int(np.isnan(times).sum())
    p50, p99 = np.percentile(np.where(np.isnan(times), np.inf, times), [50, 99], method="inverted_cdf")
    return {"p50": float(p50), "p99": float(p99), "trials": len(times), "missed": missed}
