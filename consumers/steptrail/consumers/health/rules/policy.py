"""How one step is judged: the parameters of every rule, and the silenced rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast

from steptrail.consumers.health.rules.parameters import RulePolicy
from steptrail.consumers.health.rules.registry import policies

P = TypeVar("P", bound=RulePolicy)


@dataclass(frozen=True)
class Policy:
    """`rules` maps rule names to parameters; a `silenced` rule's findings are shown but do not count."""

    rules: Mapping[str, RulePolicy] = field(
        default_factory=lambda: {name: kind() for name, kind in policies().items()}
    )
    silenced: frozenset[str] = frozenset()

    def of(self, kind: type[P]) -> P:
        """The parameters of one rule, by class."""
        return cast("P", self.rules[kind.rule])
