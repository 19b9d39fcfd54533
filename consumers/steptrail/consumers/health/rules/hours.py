"""A step's profile by hour of the week: how quiet and how busy it was over four weeks, in a kilobyte."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steptrail.consumers.health.rules.columns import Columns, Floats, Ints, column
from steptrail.consumers.health.rules.slots import SLOT_S

HOUR_SLOTS = 3600 // SLOT_S
WEEK_HOURS = 168
WEEKS = 4
RATE_WEIGHT = 0.3
"""Weight of the latest week in the mean rate of an hour."""

_STEP = np.log(28 * 86_400 / SLOT_S) / 254


def quiet_code(slots: Ints) -> npt.NDArray[np.uint8]:
    """Encode a pause in one byte on a logarithmic scale, rounded up by at most 5 %; at most 28 days."""
    code = np.ceil(np.log(np.maximum(slots, 1)) / _STEP - 1e-9)
    byte: npt.NDArray[np.uint8] = np.minimum(code + 1, 255).astype(np.uint8)
    return byte


def quiet_slots(code: npt.NDArray[np.uint8]) -> Floats:
    """Decode a byte to a pause in slots; 0 for 0, which means "nothing recorded"."""
    slots: Floats = np.where(code == 0, 0.0, np.exp(_STEP * (code.astype(np.float64) - 1)))
    return slots


@dataclass
class Hours(Columns):
    """For each of the week's 168 hours: the greatest quiet in each of four weeks, and the mean rate.

    *Quiet* is the time since the latest sign of life; an hour's quiet is the greatest within it. So a pause over night
    is recorded in each of its hours with its length so far.
    """

    quiet: npt.NDArray[np.uint8] = column(np.uint8, width=(WEEKS, WEEK_HOURS))
    rate: npt.NDArray[np.float32] = column(np.float32, width=(WEEK_HOURS,))

    def note(self, hour: int, quiet: Ints, events: Floats, known: npt.NDArray[np.bool_]) -> None:
        """Record the completed hour `hour` (since the epoch); `known` marks the steps seen before it."""
        week, of_week = hour // WEEK_HOURS % WEEKS, hour % WEEK_HOURS
        self.quiet[:, week, of_week] = np.where(known, quiet_code(quiet), 0)
        rate = (events / HOUR_SLOTS).astype(np.float32)
        old = self.rate[:, of_week]
        fresh = (self.quiet[:, :, of_week] > 0).sum(axis=1) <= 1
        mean = np.where(fresh, rate, old + np.float32(RATE_WEIGHT) * (rate - old))
        self.rate[:, of_week] = np.where(known, mean, 0)

    def usual_quiet(self, hour: int) -> Floats:
        """The usual quiet within `hour` and its neighbouring hours, in slots; 0 if unknown.

        The second-quietest of four weeks, since one may have had an outage; the quietest of two or three.
        """
        around = [(hour + shift) % WEEK_HOURS for shift in (-1, 0, 1)]
        weekly = np.sort(self.quiet[:, :, around].max(axis=2), axis=1)
        noted = (weekly > 0).sum(axis=1)
        usual = np.where(noted == WEEKS, weekly[:, -2], weekly[:, -1])
        return quiet_slots(np.where(noted >= 2, usual, 0))

    def least_rate(self, hour: int) -> Floats:
        """Expected events per slot: the least of the three hours' mean rates."""
        around = [(hour + shift) % WEEK_HOURS for shift in (-1, 0, 1)]
        rate: Floats = self.rate[:, around].min(axis=1).astype(np.float64)
        return rate
