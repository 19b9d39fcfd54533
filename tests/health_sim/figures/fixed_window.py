"""For comparison: what an alert on a fixed window says on the same days on which our rule says nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.figure import Figure
from health_sim.figures.error_false_alarms import RATES, SHARES
from health_sim.simulation import DAY_SLOTS, Simulation
from steptrail.consumers.health.rules.columns import Floats
from steptrail.consumers.health.rules.slots import SLOT_S

WINDOW_SLOTS = 300 // SLOT_S
THRESHOLD = 0.10
FOR_SLOTS = 60 // SLOT_S
AT_LEAST = 20


class FixedWindow:
    """`failed / ended > 10 %` over five minutes, for one minute, as many an alert is written; `at_least` ended."""

    def __init__(self, steps: int, at_least: int) -> None:
        self._at_least = at_least
        self._failed = np.zeros((WINDOW_SLOTS, steps))
        self._ended = np.zeros((WINDOW_SLOTS, steps))
        self._sums = np.zeros((2, steps))
        self._above = np.zeros(steps, np.int64)
        self._slot = 0

    def fold(self, failed: Floats, ended: Floats) -> npt.NDArray[np.bool_]:
        """Add one slot; return who is alarmed."""
        place = self._slot % WINDOW_SLOTS
        self._sums += failed - self._failed[place], ended - self._ended[place]
        self._failed[place], self._ended[place] = failed, ended
        self._slot += 1
        above = (self._sums[0] > THRESHOLD * self._sums[1]) & (self._sums[1] >= self._at_least)
        self._above = np.where(above, self._above + 1, 0)
        alarmed: npt.NDArray[np.bool_] = self._above >= FOR_SLOTS
        return alarmed


def false_alarms(simulation: Simulation, each: int) -> dict[str, dict[str, dict[str, float]]]:
    """Alarms in 1,000 step-days: by kind of window, share of failures and rate."""
    rates = np.repeat(np.tile(RATES, len(SHARES)), each)
    shares = np.repeat(SHARES, each * len(RATES))
    rng = simulation.random("fixed window")
    windows = {
        "any number": FixedWindow(len(rates), 1),
        f"at least {AT_LEAST}": FixedWindow(len(rates), AT_LEAST),
    }
    alarms = {name: np.zeros(len(rates), np.int64) for name in windows}
    before = {name: np.zeros(len(rates), np.bool_) for name in windows}
    for _ in range(DAY_SLOTS):
        failed = rng.poisson(rates * SLOT_S * shares).astype(float)
        ended = failed + rng.poisson(rates * SLOT_S * (1 - shares))
        for name, window in windows.items():
            now = window.fold(failed, ended)
            alarms[name] += now & ~before[name]
            before[name] = now
    return {
        name: {
            f"{share:.0%}": {
                f"{rate:g}/s": float(counts[(rates == rate) & (shares == share)].sum()) * 1000 / each
                for rate in RATES
            }
            for share in SHARES
        }
        for name, counts in alarms.items()
    }


def measure(simulation: Simulation) -> list[Figure]:
    """No bound: it is not ours. The detail has it by rate."""
    found = false_alarms(simulation, simulation.amount(20, 200))
    worst = max(
        alarms for by_share in found.values() for by_rate in by_share.values() for alarms in by_rate.values()
    )
    return [Figure("fixed_window_false_alarms_in_1000_days", worst, "alarms", "", True, found)]
