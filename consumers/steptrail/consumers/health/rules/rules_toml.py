"""The pydantic models of a rules file's tables; their keys come from the registered rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, create_model

from steptrail.consumers.health.rules.registry import policies
from steptrail.consumers.health.rules.rule_names import rule_names
from steptrail.schemas.configuration.toml_file import Table, TomlFileError
from steptrail.schemas.configuration.toml_values import Glob, shown


class RulesError(TomlFileError):
    """A rules file is invalid; the message names every line and key. None of it takes effect."""

    consequence = "Nothing of this file is in force; the rules stay as they were."


def _silenced(value: Any) -> frozenset[str] | None:
    if isinstance(value, bool):
        return frozenset(rule_names() if value else ())
    if isinstance(value, list) and all(name in rule_names() for name in value):
        return frozenset(value)
    raise ValueError(f"{shown(value)} is not true, false or a list of {', '.join(rule_names())}")


if TYPE_CHECKING:
    _Rules = Table
else:
    _Rules = create_model(
        "_Rules", __base__=Table, **{kind.key(): (kind.table() | None, None) for kind in policies().values()}
    )


class Defaults(_Rules):
    """`[defaults]`: changes for every step."""

    silenced: Annotated[frozenset[str] | None, BeforeValidator(_silenced)] = None

    def changes(self) -> Mapping[str, Any]:
        """The given values by rule, as arguments of `RulePolicy.changed`."""
        found = {name: getattr(self, kind.key()) for name, kind in policies().items()}
        return {name: value for name, value in found.items() if value is not None}


class RuleTable(Defaults):
    """`[[rule]]`: changes for the steps that match the globs."""

    pipeline: Glob = "*"
    step: Glob = "*"


class RulesDocument(Table):
    """A whole rules file."""

    defaults: Defaults | None = None
    rule: list[RuleTable] = Field(default_factory=list)
