"""The interface of a health rule: parameters, state, one fold per slot, a level, and evidence in words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.columns import Flags, Grouped, Ints
from steptrail.consumers.health.rules.parameters import RulePolicy, stacked
from steptrail.consumers.health.rules.slots import Slot, StepKey
from steptrail.consumers.health.rules.verdict import Finding

P = TypeVar("P", bound=RulePolicy)


class HealthRule(ABC, Generic[P]):
    """Base class of all rules: parameters, and stored state besides columns. See `StepRule` and `PipelineRule`."""

    policy: ClassVar[type[RulePolicy]]

    def stored(self, keys: Sequence[StepKey]) -> Any:
        """State outside columns, as JSON values; None if there is none. `keys`: the step of each row."""
        return None

    def restore(self, stored: Any, index: Mapping[StepKey, int]) -> None:
        """Restore the state from `stored`; `index`: the row of each step."""


class StepRule(HealthRule[P], Grouped):
    """A rule that judges steps, all at once: row i of its columns is the state of step i.

    A subclass is a dataclass whose fields are `Columns`, which are extended, filtered and saved in snapshots by
    name. It defines `fold`, `levels` and `findings`. The policy of many steps is a stacked one (`stacked`).
    """

    def configure(self, policies: Sequence[P]) -> P:
        """Return the stacked policy; called with each row's policy when rows or the rules file change."""
        return stacked(policies)

    @abstractmethod
    def fold(self, block: Block, policy: P) -> None:
        """Add one closed slot."""

    @abstractmethod
    def levels(self, slot: int, policy: P) -> Ints:
        """The level of each step at the end of `slot`: 0 HEALTHY, 1 WARNING, 2 CRITICAL."""

    @abstractmethod
    def findings(self, row: int, slot: int, policy: P) -> list[Finding]:
        """The evidence about one step at the end of `slot`; `policy` is that step's."""

    def last_seen(self) -> Ints | int:
        """Each step's last slot with a sign of life; 0 if there was none, or the rule does not track it."""
        return 0

    def grew(self, since: int) -> Flags | bool:
        """Which steps have new evidence after slot `since`, which is published whatever their level."""
        return False


class PipelineRule(HealthRule[P]):
    """A rule that judges pipelines as a whole. A subclass has no constructor arguments and defines every method."""

    @abstractmethod
    def fold(self, slot: Slot, policy_of: Callable[[str], P]) -> None:
        """Add one closed slot; `policy_of` returns a pipeline's policy."""

    @abstractmethod
    def pipelines(self) -> Collection[str]:
        """The pipelines for which it has state."""

    @abstractmethod
    def active(self) -> bool:
        """Whether it may currently have a finding about any pipeline."""

    @abstractmethod
    def forget(self) -> None:
        """Drop pipelines whose state has decayed; called once an hour."""

    @abstractmethod
    def finding(self, pipeline: str, policy: P) -> Finding | None:
        """The evidence about one pipeline; None if there is none."""
