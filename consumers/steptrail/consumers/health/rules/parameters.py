"""Parameters of rules: frozen data, each with default, valid range and description.

The defaults come from simulation (`tests/health_sim`). A policy's parameter is one number, or a column with one
number per step (`stacked`): the rules work with both.
"""

# ruff: noqa: RUF009  number() declares a field, as dataclasses.field() does

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
from pydantic import create_model
from typing_extensions import Self

from steptrail.consumers.health.rules.columns import Number
from steptrail.schemas.configuration import toml_values
from steptrail.schemas.configuration.toml_file import Clashes, Found, Table

DAY_S = 86_400.0


def number(default: float, low: float, high: float, doc: str) -> Any:
    """Declare a parameter: its default, valid range, and description (for docs and messages)."""
    return field(default=default, metadata={"low": low, "high": high, "doc": doc})


def pin(low: float, high: float, doc: str) -> Any:
    """Declare a parameter that is learned unless configured."""
    return field(default=math.nan, metadata={"low": low, "high": high, "doc": doc})


def declared(low: float, high: float, doc: str) -> Any:
    """Declare a parameter that is unset unless configured."""
    return field(default=math.nan, metadata={"low": low, "high": high, "doc": doc, "without": "none"})


@dataclass(frozen=True)
class RulePolicy:
    """Base of the parameters of one rule: a frozen dataclass whose fields are `number`, `pin` or `declared`.

    `rule` is the rule's name. The rules file has a table of that name with a key for each field; a rule with another
    syntax overrides `key`, `table` and `changed`.
    """

    rule: ClassVar[str]

    @classmethod
    def key(cls) -> str:
        """Its key in the rules file."""
        return cls.rule

    @classmethod
    def table(cls) -> Any:
        """The type of that key's value, for pydantic."""
        keys: dict[str, Any] = {
            f.name: (Annotated[float, toml_values.number(f.metadata["low"], f.metadata["high"])], 0.0)
            for f in fields(cls)
        }

        policy = cls

        class Checked(Table):
            @classmethod
            def _clashes(cls, found: Found, context: Any) -> Clashes:
                return policy.clashes(found)

        return create_model(cls.rule, __base__=Checked, **keys)

    @classmethod
    def clashes(cls, found: Found) -> Clashes:
        """Conflicts between keys of the table, whose values may be anything: the key, and the problem."""
        return iter(())

    def changed(self, table: Any) -> Self:
        """These parameters, updated with those of a table of the rules file."""
        return replace(self, **table.model_dump(exclude_unset=True))


@dataclass(frozen=True)
class RatioPolicy(RulePolicy):
    """Parameters of a rule that watches the share of bad executions with a CUSUM (`cusum`, `alarm`)."""

    limit: Number = number(18, 4, 200, "the score that is an alarm (h of the CUSUM)")
    slot_share: Number = number(0.4, 0.05, 1, "share of the limit that a single slot can add to the score")
    least_slots: Number = number(3, 1, 1000, "slots with endings that the evidence must span")
    least_bad: Number = number(10, 1, 1e6, "bad executions that are needed")
    few_bad: Number = number(5, 1, 1e6, "bad executions that do when the evidence is `few_after_s` long")
    few_after_s: Number = number(600, 0, 7 * DAY_S, "see `few_bad`")
    least_share: Number = number(0.10, 0, 1, "share of the evidence that must be bad")
    started_share: Number = number(
        0.05, 0, 1, "share of all started since the evidence began that must be bad"
    )
    critical_share: Number = number(
        0.5, 0.05, 2, "share of recent executions that is CRITICAL; above 1: never"
    )
    recovery_share: Number = number(0.05, 0, 1, "share that is good enough to recover, if normal is less")
    recovery_margin: Number = number(1.25, 1, 10, "or this many times the normal share")
    recovery_s: Number = number(120, 5, DAY_S, "how long it must be so good")
    recovery_executions: Number = number(30, 1, 1e6, "and over how many executions")
    realarm_s: Number = number(3600, 0, 7 * DAY_S, "an alarm so soon after a recovery doubles `recovery_s`")
    recovery_most_s: Number = number(3600, 5, 7 * DAY_S, "up to this")
    half_life_s: Number = number(DAY_S, 600, 60 * DAY_S, "in which what was learned loses half its weight")


P = TypeVar("P", bound=RulePolicy)


def stacked(policies: Sequence[P]) -> P:
    """Combine many steps' policies: a parameter in which they differ becomes a column, one row per step.

    Raises ValueError for an empty sequence.
    """
    if not policies:
        raise ValueError("no policy to stack: give at least one")
    numbers: dict[int, int] = {}
    distinct: list[P] = []
    for policy in policies:
        if id(policy) not in numbers:
            numbers[id(policy)] = len(distinct)
            distinct.append(policy)
    changes: dict[str, Any] = {}
    if len(distinct) > 1:
        which = np.array([numbers[id(policy)] for policy in policies])
        for f in fields(distinct[0]):
            values = np.array([getattr(policy, f.name) for policy in distinct], np.float64)
            if not np.array_equal(values, np.full(len(values), values[0]), equal_nan=True):
                changes[f.name] = values[which]
    return replace(distinct[0], **changes)
