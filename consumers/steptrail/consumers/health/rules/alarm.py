"""Raises and clears the alarm level of each step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steptrail.consumers.health.rules.columns import LONG_AGO, Columns, Flags, Floats, Ints, Number, column
from steptrail.consumers.health.rules.cusum import Cusum
from steptrail.consumers.health.rules.parameters import RatioPolicy
from steptrail.consumers.health.rules.slots import SLOT_S

RECENT_S = 60
RECENT_EXECUTIONS = 50
BREAKS_AFTER = 20
MILD_MARGIN = 0.8

NONE, WARNING, CRITICAL = 0, 1, 2


@dataclass
class Alarm(Columns):
    """The alarm level of each step, and the counts that clear it.

    *Recent* is what users see and what CRITICAL is measured on: two consecutive windows, each of at least 60 s and 50
    executions. A *run* is a stretch with a small share of bad executions; it restarts when the share rises. After the
    *hold*, and over enough executions, a good run leads back to NONE, a mild one from CRITICAL to WARNING. The hold
    doubles with each alarm within an hour of the last end, so that a share near the threshold does not make the level
    flap.
    """

    level: npt.NDArray[np.int8] = column(np.int8)
    since: Ints = column(np.int64)
    recent_bad: Floats = column(width=(2,))
    recent_ended: Floats = column(width=(2,))
    recent_since: Ints = column(np.int64, width=(2,))
    good_bad: Floats = column()
    good_ended: Floats = column()
    good_since: Ints = column(np.int64)
    mild_bad: Floats = column()
    mild_ended: Floats = column()
    mild_since: Ints = column(np.int64)
    hold: Ints = column(np.int64)
    eased: Ints = column(np.int64, initial=LONG_AGO)

    def fold(
        self, slot: int, bad: Floats, ended: Floats, cusum: Cusum, recovered: Floats, policy: RatioPolicy
    ) -> None:
        """Advance by one slot, which `cusum` has already folded; `recovered` is the share that counts as good.

        The end of an alarm, and a good run that breaks, restart the score of `cusum`.
        """
        self._count_recent(slot, bad, ended)
        raised = (self.level == NONE) & cusum.convincing(slot, policy)
        alarmed = self.level > NONE
        if not (alarmed | raised).any():
            return
        self._take_evidence(slot, raised, cusum)
        lasted = [self._run(n, slot, bad, ended, alarmed, recovered, policy, cusum) for n in ("good", "mild")]
        recent_bad, recent_ended = self.recent_bad.sum(axis=1), self.recent_ended.sum(axis=1)
        most = np.maximum(policy.critical_share * recent_ended, policy.few_bad)
        worse = (self.level < CRITICAL) & (alarmed | raised) & (recent_bad >= most)
        over = lasted[0] & ~worse & cusum.calm(policy)
        milder = lasted[1] & (self.level == CRITICAL) & ~over
        self._move(slot, raised, worse, over, milder, policy)
        cusum.restart(over)

    def recent(self, row: int, slot: int) -> tuple[int, int, int]:
        """Bad and ended executions of one step, and the seconds they span, as of the end of `slot`."""
        bad, ended = self.recent_bad[row].sum(), self.recent_ended[row].sum()
        return round(bad), round(ended), int(slot + 1 - self.recent_since[row, 0]) * SLOT_S

    def since_s(self, row: int) -> float | None:
        """When one step's level was reached, in seconds since the epoch; None without an alarm."""
        return float(self.since[row]) * SLOT_S if self.level[row] != NONE else None

    def _count_recent(self, slot: int, bad: Floats, ended: Floats) -> None:
        full = (self.recent_ended[:, 1] >= RECENT_EXECUTIONS) & (
            (slot - self.recent_since[:, 1]) * SLOT_S >= RECENT_S
        )
        if full.any():
            for counts in (self.recent_bad, self.recent_ended, self.recent_since):
                counts[full, 0] = counts[full, 1]
                counts[full, 1] = 0
            self.recent_since[full, 1] = slot
        self.recent_since[self.recent_since[:, 0] == 0] = slot
        self.recent_bad[:, 1] += bad
        self.recent_ended[:, 1] += ended

    def _take_evidence(self, slot: int, raised: Flags, cusum: Cusum) -> None:
        """Start *recent* with the evidence that raised the alarm; all runs begin after it."""
        pairs = ((self.recent_bad, cusum.bad), (self.recent_ended, cusum.ended))
        for counts, evidence in pairs:
            counts[raised, 0] = evidence[raised]
            counts[raised, 1] = 0
        self.recent_since[raised, 0] = cusum.since[raised]
        self.recent_since[raised, 1] = slot + 1
        for name in ("good", "mild"):
            self._begin_run(name, raised, slot + 1)

    def _begin_run(self, name: str, where: Flags, slot: int) -> None:
        for part, value in (("bad", 0), ("ended", 0), ("since", slot)):
            getattr(self, f"{name}_{part}")[where] = value

    def _run(
        self,
        name: str,
        slot: int,
        bad: Floats,
        ended: Floats,
        alarmed: Flags,
        recovered: Floats,
        policy: RatioPolicy,
        cusum: Cusum,
    ) -> Flags:
        """Continue the run of this name; returns the steps for which it has lasted long enough."""
        share: Number = recovered if name == "good" else policy.critical_share * MILD_MARGIN
        run_bad, run_ended = getattr(self, f"{name}_bad"), getattr(self, f"{name}_ended")
        run_bad += bad * alarmed
        run_ended += ended * alarmed
        broken = alarmed & (run_ended >= BREAKS_AFTER) & (run_bad > share * run_ended)
        self._begin_run(name, broken, slot + 1)
        if name == "good":
            cusum.restart(broken)
        lasted_s = (slot + 1 - getattr(self, f"{name}_since")) * SLOT_S
        lasted: Flags = (
            alarmed
            & (lasted_s >= self.hold * SLOT_S)
            & (run_ended >= policy.recovery_executions)
            & (run_bad <= share * run_ended)
        )
        return lasted

    def _move(
        self, slot: int, raised: Flags, worse: Flags, over: Flags, milder: Flags, policy: RatioPolicy
    ) -> None:
        again = (raised | worse) & ((slot - self.eased) * SLOT_S <= policy.realarm_s)
        longer = np.minimum(self.hold * 2, policy.recovery_most_s // SLOT_S)
        first = np.where(raised, policy.recovery_s // SLOT_S, self.hold)
        self.hold = np.where(again, longer, first).astype(np.int64)
        self.eased = np.where(over | milder, slot, np.where(again, LONG_AGO, self.eased))
        level = np.where(worse, CRITICAL, np.where(raised, WARNING, self.level))
        level = np.where(over, NONE, np.where(milder, WARNING, level)).astype(np.int8)
        self.since = np.where(level != self.level, slot + 1, self.since)
        self.level = level
        self._begin_run("mild", milder, slot + 1)
