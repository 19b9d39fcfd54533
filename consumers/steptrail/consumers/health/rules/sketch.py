"""A sketch of a step's durations: counts in logarithmic bins, bounded in size, and merged by addition.

Eight bins per octave, from 0.1 ms to 30 hours: a bin's upper edge is at most 9.1 % above its values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steptrail.consumers.health.rules.columns import Columns, Flags, Floats, Ints, Number, column

BINS = 240
PER_OCTAVE = 8
LEAST_MS = 0.1


def bin_of(milliseconds: Floats | float) -> npt.NDArray[np.int64]:
    """The bin of each duration; durations beyond the range fall into the first or the last bin.

    Bin b holds (0.1 · 2^(b/8), 0.1 · 2^((b+1)/8)] ms. The same in SQL: `clamp(ceil(log2(ms / 0.1) * 8) - 1, 0, 239)`.
    """
    positive = np.maximum(np.asarray(milliseconds, np.float64), LEAST_MS)
    bins = np.ceil(np.log2(positive / LEAST_MS) * PER_OCTAVE) - 1
    within: npt.NDArray[np.int64] = np.clip(bins, 0, BINS - 1).astype(np.int64)
    return within


def upper_edge_ms(bins: npt.NDArray[np.int64] | int) -> Floats:
    """The longest duration in each bin, in ms."""
    edges: Floats = LEAST_MS * np.exp2((np.asarray(bins) + 1) / PER_OCTAVE)
    return edges


@dataclass(frozen=True)
class BinnedDurations:
    """The durations of one slot: `counts[i]` executions of step `rows[i]` in bin `bins[i]`, each pair once."""

    rows: Ints
    bins: Ints
    counts: Floats

    @classmethod
    def none(cls) -> BinnedDurations:
        """An empty slot's durations."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))

    def measured(self, rows: int) -> Floats:
        """The number of executions with a duration, by step."""
        return np.bincount(self.rows, self.counts, rows).astype(np.float64)

    def above(self, bins: Ints, part: Floats) -> Floats:
        """The number of durations above each step's bin, plus `part` of those in it."""
        theirs = bins[self.rows]
        slow = self.counts * np.where(self.bins == theirs, part[self.rows], self.bins > theirs)
        return np.bincount(self.rows, slow, len(bins)).astype(np.float64)


@dataclass
class Sketch(Columns):
    """Counts by bin for each step, decaying with a half-life."""

    counts: npt.NDArray[np.float32] = column(np.float32, width=(BINS,))

    def learn(self, durations: BinnedDurations, learning: Flags) -> None:
        """Add one slot's durations for the `learning` steps."""
        taken = learning[durations.rows]
        self.counts[durations.rows[taken], durations.bins[taken]] += durations.counts[taken]

    def forget(self, seconds: float, half_life_s: Number, learning: Flags) -> None:
        """Decay the `learning` steps' counts by `seconds`."""
        decay = np.where(learning, np.exp2(-seconds / half_life_s), 1.0)
        self.counts *= decay.astype(np.float32)[:, None]

    def total(self) -> Floats:
        """The weighted number of durations each step has learned from."""
        total: Floats = self.counts.sum(axis=1, dtype=np.float64)
        return total

    def percentile_bin(self, share: float) -> Ints:
        """The first bin up to which at least `share` of each step's durations lie; 0 if there are none."""
        cumulated = np.cumsum(self.counts, axis=1, dtype=np.float64)
        bins: Ints = np.argmax(cumulated >= share * cumulated[:, -1:], axis=1).astype(np.int64)
        return bins

    def part_above(self, bins: Ints, share: float) -> Floats:
        """The part of each step's bin that belongs to the longest `share` of durations, as do the bins above."""
        rows = np.arange(len(bins))
        cumulated = np.cumsum(self.counts, axis=1, dtype=np.float64)
        within = self.counts[rows, bins].astype(np.float64)
        longest = share * cumulated[:, -1] - (cumulated[:, -1] - cumulated[rows, bins])
        return np.clip(longest / np.maximum(within, 1e-9), 0.0, 1.0)
