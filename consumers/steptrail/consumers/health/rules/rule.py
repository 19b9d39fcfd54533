"""What a health rule is: parameters, state, one fold for each slot, a level, and evidence in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.columns import Flags, Grouped, Ints
from steptrail.consumers.health.rules.parameters import RulePolicy, stacked
from steptrail.consumers.health.rules.slots import Slot, StepKey
from steptrail.consumers.health.rules.verdict import Finding

P = TypeVar("P", bound=RulePolicy)


class HealthRule(Generic[P]):
    """What every rule has: its parameters, and what it stores beside columns. See `StepRule` and `PipelineRule`."""

    policy: ClassVar[type[RulePolicy]]

    def stored(self, keys: Sequence[StepKey]) -> Any:
        """State that is not in columns, for JSON; None where there is none. `keys`: the step of each row."""
        return None

    def restore(self, stored: Any, index: Mapping[StepKey, int]) -> None:
        """Take back what `stored` gave; `index`: the row of each step."""


class StepRule(HealthRule[P], Grouped):
    """A rule that judges steps, all at once: row i of its columns is the state of step i.

    A subclass is a dataclass whose fields are `Columns`: they are extended, cut and put into snapshots by their names.
    It defines `fold`, `levels` and `findings`. A policy for many steps is a stacked one (`stacked`).
    """

    def configure(self, policies: Sequence[P]) -> P:
        """The stacked policy; called with each row's policy when rows come or go and when the rules file changes."""
        return stacked(policies)

    def fold(self, block: Block, policy: P) -> None:
        """Add one closed slot."""
        raise NotImplementedError

    def levels(self, slot: int, policy: P) -> Ints:
        """Level of each step at the end of `slot`: 0 HEALTHY, 1 WARNING, 2 CRITICAL."""
        raise NotImplementedError

    def findings(self, row: int, slot: int, policy: P) -> list[Finding]:
        """The evidence about one step at the end of `slot`; `policy` is that step's own."""
        raise NotImplementedError

    def last_seen(self) -> Ints | int:
        """The last slot with a sign of life of each step; 0 where there was none, or none is looked for."""
        return 0

    def grew(self, since: int) -> Flags | bool:
        """Which steps have new evidence after slot `since`, whatever their level: it is published again."""
        return False


class PipelineRule(HealthRule[P]):
    """A rule that judges pipelines as a whole. A subclass can be made without arguments and defines every method."""

    def fold(self, slot: Slot, policy_of: Callable[[str], P]) -> None:
        """Add one closed slot; `policy_of` gives the policy of a pipeline."""
        raise NotImplementedError

    def pipelines(self) -> Collection[str]:
        """The pipelines that it has state of."""
        raise NotImplementedError

    def active(self) -> bool:
        """Whether it may have a finding about any of them now."""
        raise NotImplementedError

    def forget(self) -> None:
        """Drop pipelines whose state has faded; called once an hour."""
        raise NotImplementedError

    def finding(self, pipeline: str, policy: P) -> Finding | None:
        """The evidence about one pipeline; None where there is none."""
        raise NotImplementedError
