"""Rule `stalled`: did executions start and not end in time, or queue and not start in time?

`overdue` finds these executions, independently of the slots; the rule counts them and supplies the deadlines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.columns import Columns, Flags, Floats, Ints, Number, column
from steptrail.consumers.health.rules.kinds.durations import Learned
from steptrail.consumers.health.rules.overdue import Observation, Observed
from steptrail.consumers.health.rules.parameters import DAY_S, RulePolicy, declared, number, pin
from steptrail.consumers.health.rules.rule import StepRule
from steptrail.consumers.health.rules.sketch import upper_edge_ms
from steptrail.consumers.health.rules.slots import SLOT_S, StepKey
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import Finding


@dataclass(frozen=True)
class StalledPolicy(RulePolicy):
    """Executions that started and did not end in time, or were queued and did not start in time."""

    rule: ClassVar[str] = "stalled"

    deadline_s: Number = pin(1, 365 * DAY_S, "the deadline; learned unless declared")
    least_s: Number = number(600, 1, 28 * DAY_S, "least deadline that is learned")
    factor: Number = number(3, 1, 100, "times the 99th percentile of durations")
    least_ended: Number = number(100, 10, 1e9, "endings that must have been learned from")
    grace_s: Number = number(60, 0, DAY_S, "granted on top, for records on their way")
    counts_for_s: Number = number(
        DAY_S, 60, 365 * DAY_S, "how long one that stalled speaks in the step's verdict"
    )
    queued_s: Number = declared(
        1, 365 * DAY_S, "how long an execution may be PENDING before it is begun; no deadline unless declared"
    )
    critical_at: Number = number(0, 0, 1e9, "stalled executions that are CRITICAL, else WARNING; 0: never")


@dataclass
class Stalls(Columns):
    """Currently stalled executions, how many of them are `queued`, and the slot in which the latest was found."""

    count: Ints = column(np.int64)
    latest: Ints = column(np.int64)
    queued: Ints = column(np.int64, added=True)


@dataclass
class StalledRule(StepRule[StalledPolicy]):
    """Counts each step's stalled executions from observations."""

    policy = StalledPolicy

    stalls: Stalls

    def observe(self, observations: Iterable[Observation], index: Mapping[StepKey, int]) -> None:
        """Add observations, each once; ignores steps without a row in `index`."""
        stalls = self.stalls
        for each in observations:
            row = index.get((each.execution.pipeline, each.execution.step))
            if row is None:
                continue
            if each.what is Observed.STALLED:
                stalls.count[row] += 1
                stalls.queued[row] += each.execution.queued
                stalls.latest[row] = max(int(stalls.latest[row]), int(each.watermark // SLOT_S) - 1)
            else:
                stalls.count[row] = max(0, int(stalls.count[row]) - 1)
                stalls.queued[row] = max(0, int(stalls.queued[row]) - each.execution.queued)

    def reset(self) -> None:
        """Reset the counts: the currently stalled executions are observed again."""
        self.stalls.count[:] = 0
        self.stalls.queued[:] = 0

    def fold(self, block: Block, policy: StalledPolicy) -> None:
        """Do nothing: slots do not contain what has not happened."""

    def levels(self, slot: int, policy: StalledPolicy) -> Ints:
        """WARNING for a time after the latest was found; CRITICAL from a configurable number."""
        stalls = self.stalls
        late = (slot - stalls.latest) * SLOT_S > policy.counts_for_s
        critical = (np.asarray(policy.critical_at) > 0) & (policy.critical_at <= stalls.count)
        return np.where((stalls.count == 0) | late, 0, np.where(critical, 2, 1)).astype(np.int64)

    def findings(self, row: int, slot: int, policy: StalledPolicy) -> list[Finding]:
        """One while there are any, and the latest was found recently."""
        one = StalledRule(Stalls(**{name: column[row : row + 1] for name, column in self.stalls.arrays()}))
        level = int(one.levels(slot, policy)[0])
        if not level:
            return []
        count, queued = int(self.stalls.count[row]), int(self.stalls.queued[row])
        latest = float(self.stalls.latest[row] + 1) * SLOT_S
        sentences = []
        if count > queued:
            sentences.append(
                f"{_executions(count - queued, 'started ')} passed the deadline without an ending"
            )
        if queued:
            them = "it" if queued == 1 else "them"
            sentences.append(
                f"{_executions(queued)} been PENDING past the deadline, and nobody has begun {them}"
            )
        data = {"count": count, "queued": queued, "latest": latest}
        return [Finding(policy.rule, HealthStatus.of_level(level), "; ".join(sentences), latest, data)]

    def last_seen(self) -> Ints:
        """The slot in which the latest was found."""
        return self.stalls.latest

    def grew(self, since: int) -> Flags:
        """Which steps had more found after slot `since`."""
        flags: Flags = (self.stalls.count > 0) & (self.stalls.latest > since)
        return flags


def deadlines(learned: Learned, policy: StalledPolicy) -> Floats:
    """Each step's deadline in seconds: declared, or learned from enough endings; NaN if there is none yet."""
    learned_s = np.maximum(policy.least_s, policy.factor * upper_edge_ms(learned.p99_bin) / 1000)
    learned_s = np.where(learned.total >= policy.least_ended, learned_s, np.nan)
    return np.where(np.isnan(policy.deadline_s), learned_s, policy.deadline_s)


def _executions(count: int, kind: str = "") -> str:
    return f"{count} {kind}execution{' has' if count == 1 else 's have'}"


RULE = StalledRule
