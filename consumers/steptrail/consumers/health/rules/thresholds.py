"""Bounds that users set on durations and metrics: too many executions beyond them within a window."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from steptrail.consumers.health.rules.alarm import CRITICAL, NONE, WARNING
from steptrail.consumers.health.rules.baseline import SLOT_S
from steptrail.consumers.health.rules.formatting import percent
from steptrail.consumers.health.rules.policy import Threshold
from steptrail.schemas.figures import counted, figure

PARTS = 12
"""A window moves on by twelfths."""


@dataclass(frozen=True)
class Measured:
    """What one slot says to one threshold: executions that had its measure, and those beyond its bound."""

    count: int = 0
    beyond: int = 0


@dataclass
class ThresholdWindow:
    """The last `window_s` of one threshold of one step, in at most 13 parts: (number of the part, count, beyond)."""

    threshold: Threshold
    parts: deque[tuple[int, int, int]] = field(default_factory=deque)

    def fold(self, slot: int, measured: Measured) -> None:
        """Add one closed slot."""
        number = slot // self._part_slots()
        while self.parts and self.parts[0][0] <= number - PARTS:
            self.parts.popleft()
        if not measured.count:
            return
        if self.parts and self.parts[-1][0] == number:
            _, count, beyond = self.parts.pop()
            measured = Measured(measured.count + count, measured.beyond + beyond)
        self.parts.append((number, measured.count, measured.beyond))

    def seen(self) -> Measured:
        """Sums over the window."""
        return Measured(sum(count for _, count, _ in self.parts), sum(beyond for _, _, beyond in self.parts))

    def level(self) -> int:
        """What the threshold says now."""
        seen, threshold = self.seen(), self.threshold
        if seen.count < threshold.at_least or seen.beyond < max(1, threshold.share * seen.count):
            return NONE
        return CRITICAL if threshold.critical else WARNING

    def sentence(self) -> str:
        """For people: "7 of the last 40 executions (18 %) had duration_ms above 5000 in 5 min; allowed 10 %"."""
        seen, threshold = self.seen(), self.threshold
        share = 100 * seen.beyond / seen.count if seen.count else 0.0
        where = "below" if threshold.below else "above"
        return (
            f"{seen.beyond} of the last {counted(seen.count, 'execution')} ({percent(share / 100)}) had "
            f"{threshold.measure} {where} {figure(threshold.bound)} in "
            f"{threshold.window_s:g} s; allowed {percent(threshold.share)}"
        )

    def _part_slots(self) -> int:
        return max(1, round(self.threshold.window_s / SLOT_S / PARTS))
