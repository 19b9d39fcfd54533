"""The tables of a rules file, as pydantic checks them; which parameters there are, the policies say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, create_model

from steptrail.consumers.health.rules.policy import Policy, Threshold
from steptrail.schemas.configuration.toml_file import Clashes, Found, Table, TomlFileError
from steptrail.schemas.configuration.toml_values import Glob, number, one_of, shown

RULE_NAMES = ("errors", "durations", "silence", "stalled", "thresholds", "losses")
_GROUPS = tuple(f.name for f in fields(Policy) if f.name not in ("thresholds", "silenced"))


class RulesError(TomlFileError):
    """A rules file is wrong; the message names every line and key. Nothing of it is in force."""

    consequence = "Nothing of this file is in force; the rules stay as they were."


class _Group(Table):
    """The parameters of one rule; the fields are those of its policy."""

    @classmethod
    def _clashes(cls, found: Found, context: Any) -> Clashes:
        least, most = found.get("normal_least", 0.0), found.get("normal_most", 1.0)
        if isinstance(least, (int, float)) and isinstance(most, (int, float)) and least > most:
            yield "normal_least", f"{shown(least)} is more than normal_most, {shown(most)}"


def _group(name: str) -> Any:
    parameters: dict[str, Any] = {
        f.name: (Annotated[float, number(f.metadata["low"], f.metadata["high"])], 0.0)
        for f in fields(getattr(Policy(), name))
    }
    return create_model(name, __base__=_Group, **parameters)


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
        """As the rule takes it."""
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


def _silenced(value: Any) -> frozenset[str] | None:
    if isinstance(value, bool):
        return frozenset(RULE_NAMES if value else ())
    if isinstance(value, list) and all(name in RULE_NAMES for name in value):
        return frozenset(value)
    raise ValueError(f"{shown(value)} is not true, false or a list of {', '.join(RULE_NAMES)}")


if TYPE_CHECKING:
    _Groups = Table
else:
    _Groups = create_model(
        "_Groups", __base__=Table, **{name: (_group(name) | None, None) for name in _GROUPS}
    )


class Defaults(_Groups):
    """`[defaults]`: what changes for every step."""

    threshold: list[ThresholdTable] = Field(default_factory=list)
    silenced: Annotated[frozenset[str] | None, BeforeValidator(_silenced)] = None

    def changes(self) -> Mapping[str, Mapping[str, float]]:
        """The parameters that are given, by rule."""
        return self.model_dump(include=set(_GROUPS), exclude_unset=True)


class RuleTable(Defaults):
    """`[[rule]]`: what changes for the steps that the globs match."""

    pipeline: Glob = "*"
    step: Glob = "*"


class RulesDocument(Table):
    """A whole rules file."""

    defaults: Defaults | None = None
    rule: list[RuleTable] = Field(default_factory=list)
