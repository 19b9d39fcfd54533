"""Rule `thresholds`: are too many executions beyond a user's bound on durations or on a metric?"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar

import numpy as np

from steptrail.consumers.health.rules.alarm import CRITICAL, NONE, WARNING
from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.columns import Ints
from steptrail.consumers.health.rules.formatting import percent
from steptrail.consumers.health.rules.parameters import RulePolicy
from steptrail.consumers.health.rules.rule import StepRule
from steptrail.consumers.health.rules.slots import SLOT_S, Bound, Measured, StepKey
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import Finding
from steptrail.schemas.configuration.toml_file import Clashes, Found, Table
from steptrail.schemas.configuration.toml_values import number, one_of
from steptrail.schemas.figures import counted, figure

PARTS = 12
"""A window moves on by twelfths."""


@dataclass(frozen=True)
class Threshold:
    """A user's bound on durations (`measure = "duration_ms"`) or on a metric of the step's events.

    Executions beyond `bound` (above it, or below it with `below`) are counted over the last `window_s`; the
    verdict is `status` while they are at least `share` of at least `at_least` executions that had the measure.
    """

    measure: str
    bound: float
    below: bool = False
    share: float = 0.1
    window_s: float = 300.0
    at_least: int = 10
    critical: bool = False

    @property
    def key(self) -> Bound:
        """The key of its measurements in a slot."""
        return self.measure, self.bound, self.below

    def beyond(self, value: float) -> bool:
        """Whether one value is beyond the bound."""
        return value < self.bound if self.below else value > self.bound


class ThresholdTable(Table):
    """`[[rule.threshold]]`: a bound on durations, or on a metric."""

    measure: str = "duration_ms"
    above: Annotated[float, number(-1e300, 1e300)] | None = None
    below: Annotated[float, number(-1e300, 1e300)] | None = None
    share: Annotated[float, number(0, 1)] = 0.1
    window_s: Annotated[float, number(5, 86_400)] = 300.0
    at_least: Annotated[float, number(1, 1e9)] = 10.0
    status: Annotated[str, one_of("WARNING", "CRITICAL")] = "WARNING"

    @classmethod
    def _clashes(cls, found: Found, context: Any) -> Clashes:
        if ("above" in found) == ("below" in found):
            yield (), "needs one of above and below"
        if found.get("measure") == "":
            yield "measure", 'is empty: give the name of a metric, or "duration_ms"'

    def threshold(self) -> Threshold:
        """Convert to a Threshold."""
        bound = self.above if self.below is None else self.below
        return Threshold(
            self.measure,
            bound or 0.0,
            self.below is not None,
            self.share,
            self.window_s,
            int(self.at_least),
            self.status == "CRITICAL",
        )


@dataclass(frozen=True)
class ThresholdPolicy(RulePolicy):
    """The thresholds of one step. In the rules file each is a `[[rule.threshold]]`, and matching ones accumulate."""

    rule: ClassVar[str] = "thresholds"

    thresholds: tuple[Threshold, ...] = ()

    @classmethod
    def key(cls) -> str:
        """The key of one entry."""
        return "threshold"

    @classmethod
    def table(cls) -> Any:
        """The type of the list of entries."""
        return list[ThresholdTable]

    def changed(self, table: list[ThresholdTable]) -> ThresholdPolicy:
        """These thresholds, and those of the list."""
        return replace(self, thresholds=self.thresholds + tuple(each.threshold() for each in table))


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
        """The threshold's current level."""
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


@dataclass
class ThresholdRule(StepRule[ThresholdPolicy]):
    """The windows of each row with thresholds, by row."""

    policy = ThresholdPolicy

    windows: dict[int, list[ThresholdWindow]] = field(default_factory=dict)
    rows: int = 0

    def configure(self, policies: Sequence[ThresholdPolicy]) -> ThresholdPolicy:
        """Start a window for each new threshold of a row, and drop the windows of removed ones."""
        self.rows, windows = len(policies), dict[int, list[ThresholdWindow]]()
        for row, policy in enumerate(policies):
            if policy.thresholds:
                had = {window.threshold: window for window in self.windows.get(row, ())}
                windows[row] = [had.get(each) or ThresholdWindow(each) for each in policy.thresholds]
        self.windows = windows
        return ThresholdPolicy()

    def keep(self, rows: Ints) -> None:
        """Keep these rows, in this order, and forget the others."""
        kept = ((new, self.windows.get(int(old))) for new, old in enumerate(rows))
        self.windows = {row: windows for row, windows in kept if windows}

    def fold(self, block: Block, policy: ThresholdPolicy) -> None:
        """Add one closed slot."""
        for row, windows in self.windows.items():
            measured = block.measured.get(row, {})
            for window in windows:
                window.fold(block.number, measured.get(window.threshold.key, Measured()))

    def levels(self, slot: int, policy: ThresholdPolicy) -> Ints:
        """The highest level of each step's thresholds."""
        levels = np.zeros(self.rows, np.int64)
        for row, windows in self.windows.items():
            levels[row] = max(window.level() for window in windows)
        return levels

    def findings(self, row: int, slot: int, policy: ThresholdPolicy) -> list[Finding]:
        """One for each exceeded threshold."""
        return [
            Finding(
                policy.rule,
                HealthStatus.of_level(window.level()),
                window.sentence(),
                None,
                {**vars(window.threshold), "count": window.seen().count, "seen_beyond": window.seen().beyond},
            )
            for window in self.windows.get(row, ())
            if window.level()
        ]

    def stored(self, keys: Sequence[StepKey]) -> Any:
        """[pipeline, step, [[threshold, parts], …]] of each step with thresholds."""
        return [
            [*keys[row], [[vars(window.threshold), list(window.parts)] for window in windows]]
            for row, windows in self.windows.items()
        ]

    def restore(self, stored: Any, index: Mapping[StepKey, int]) -> None:
        """Restore the state from `stored`."""
        self.windows = {
            index[pipeline, step]: [
                ThresholdWindow(Threshold(**threshold), deque(tuple(part) for part in parts))
                for threshold, parts in windows
            ]
            for pipeline, step, windows in stored
        }


RULE = ThresholdRule
