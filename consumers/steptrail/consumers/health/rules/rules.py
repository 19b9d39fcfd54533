"""The configured rules: a policy for each pipeline and step, from a rules file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from steptrail.consumers.health.rules.parameters import RulePolicy
from steptrail.consumers.health.rules.policy import Policy
from steptrail.consumers.health.rules.rules_toml import Defaults, RulesDocument, RulesError, RuleTable
from steptrail.schemas.configuration.toml_file import parse, read_text
from steptrail.schemas.stored_names import matches_name

__all__ = ["Rule", "Rules", "RulesError"]

P = TypeVar("P", bound=RulePolicy)


@dataclass(frozen=True)
class Rule:
    """What one `[[rule]]` changes for the steps that match its globs; other parameters stay the same.

    `changes`: by health rule, the argument of `RulePolicy.changed`.
    """

    pipeline: str = "*"
    step: str = "*"
    changes: Mapping[str, Any] = field(default_factory=dict)
    silenced: frozenset[str] | None = None

    @classmethod
    def of(cls, table: Defaults) -> Rule:
        """Convert a table of a rules file."""
        globs = (table.pipeline, table.step) if isinstance(table, RuleTable) else ("*", "*")
        return cls(*globs, table.changes(), table.silenced)

    def matches(self, pipeline: str, step: str) -> bool:
        """Shell-style globs, case-sensitive."""
        return matches_name(pipeline, self.pipeline) and matches_name(step, self.step)

    def applied(self, policy: Policy) -> Policy:
        """`policy` with this rule's changes."""
        changed = {name: policy.rules[name].changed(change) for name, change in self.changes.items()}
        silenced = policy.silenced if self.silenced is None else self.silenced
        return Policy({**policy.rules, **changed}, silenced)


class Rules:
    """All rules in order: each matching one updates the result of those before it. Without any: the defaults."""

    def __init__(self, rules: tuple[Rule, ...] = ()) -> None:
        self.rules = rules
        self._policies: dict[tuple[int, ...], Policy] = {(): Policy()}

    def policy(self, pipeline: str, step: str) -> Policy:
        """The policy of one step; steps that match the same rules share one object. `step` "" is the pipeline
        itself.
        """
        matching = tuple(n for n, rule in enumerate(self.rules) if rule.matches(pipeline, step))
        if matching not in self._policies:
            policy = Policy()
            for number in matching:
                policy = self.rules[number].applied(policy)
            self._policies[matching] = policy
        return self._policies[matching]

    def each(self, kind: type[P]) -> list[P]:
        """The parameters of one health rule in each `[[rule]]`, on top of the built-in defaults."""
        return [kind().changed(rule.changes[kind.rule]) for rule in self.rules if kind.rule in rule.changes]

    @classmethod
    def load(cls, path: Path) -> Rules:
        """Read a file. Raises RulesError, which lists every mistake."""
        return cls.parse(read_text(path, RulesError), str(path))

    @classmethod
    def parse(cls, text: str, source: str = "rules") -> Rules:
        """Parse TOML; `source` names it in messages. Raises RulesError."""
        document = parse(text, RulesDocument, source=source, error=RulesError)
        tables = [*([document.defaults] if document.defaults else []), *document.rule]
        return cls(tuple(Rule.of(table) for table in tables))
