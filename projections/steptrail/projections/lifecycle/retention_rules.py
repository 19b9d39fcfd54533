"""For how long events are kept, by pipeline: rules and legal holds, as people set them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import orjson

from steptrail.projections.clickhouse.queries import Store, ask_sql, stored
from steptrail.schemas.errors import ConfigurationError

if TYPE_CHECKING:
    from steptrail.projections.clickhouse.client import ClickHouse

DEFAULT: Final = ""
"""Stands for the default in place of a pipeline's name."""
LONGEST_DAYS: Final = 36_500

_DURATION: Final = re.compile(
    r"\s*(?P<count>[0-9]{1,9})\s*(?P<unit>d|days?|w|weeks?|y|years?)\s*", re.IGNORECASE
)
_DAYS: Final = {"d": 1, "w": 7, "y": 365}
_FOR_EVER: Final = frozenset({"none", "forever", "ever"})


class BadRetention(ConfigurationError, ValueError):
    """A retention cannot be; the message says what can."""


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """What holds for a pipeline, or by default.

    `days` are whole days (UTC) after the broker had an event, None: for ever. `own` is False where the default holds.
    While `held`, nothing is removed by age. `changed_at` is None where nobody ever changed anything.
    """

    pipeline: str
    days: int | None = None
    own: bool = False
    held: bool = False
    reason: str = ""
    changed_by: str = ""
    changed_at: datetime | None = None
    number: int = 0


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """All rules: the default, and those of pipelines that have one of their own or are held."""

    default: RetentionRule
    of_pipelines: Mapping[str, RetentionRule]

    def days(self, pipeline: str) -> int | None:
        """After how many days events of the pipeline go; None: they stay."""
        rule = self.of_pipelines.get(pipeline)
        if rule is not None and rule.held:
            return None
        return rule.days if rule is not None and rule.own else self.default.days

    def rule(self, pipeline: str) -> RetentionRule:
        """The rule of a pipeline (or the default), without a change where it has none."""
        if pipeline == DEFAULT:
            return self.default
        return self.of_pipelines.get(pipeline, RetentionRule(pipeline))

    def changed(self, rule: RetentionRule) -> RetentionRules:
        """The same rules but for this one."""
        if rule.pipeline == DEFAULT:
            return RetentionRules(rule, self.of_pipelines)
        return RetentionRules(self.default, {**self.of_pipelines, rule.pipeline: rule})


def parse_retention(text: str) -> int | None:
    """Days of `90d`, `12w`, `1y` (365 days); None for `none`. Raises BadRetention."""
    if text.strip().lower() in _FOR_EVER:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise BadRetention(
            f"{text!r} is no retention: write whole days, weeks or years such as 90d, 12w, 1y, or none (keep for ever)"
        )
    days = int(match["count"]) * _DAYS[match["unit"][0].lower()]
    if not 1 <= days <= LONGEST_DAYS:
        raise BadRetention(f"{text!r} is no retention: between 1d and {LONGEST_DAYS}d are possible, or none")
    return days


def retention_rules(store: Store) -> RetentionRules:
    """The rules that hold now."""
    found = {
        row["pipeline"]: RetentionRule(
            row["pipeline"],
            None if row["days"] is None else int(row["days"]),
            bool(row["own"]),
            bool(row["held"]),
            row["reason"],
            row["changed_by"],
            row["changed_at"],
            int(row["number"]),
        )
        for row in ask_sql(store, "SELECT * FROM retention_rules ORDER BY pipeline", {})
    }
    return RetentionRules(found.pop(DEFAULT, RetentionRule(DEFAULT)), found)


def write_rule(clickhouse: ClickHouse, rule: RetentionRule) -> None:
    """Write `rule` as the next change of its pipeline; of two changes at the same time one wins, for good."""
    before = retention_rules(clickhouse).rule(rule.pipeline)
    row = {
        "pipeline": stored(rule.pipeline, clickhouse),
        "number": before.number + 1,
        "change_id": str(uuid.uuid4()),
        "days": rule.days,
        "own": rule.own,
        "held": rule.held,
        "reason": rule.reason,
        "changed_by": rule.changed_by,
    }
    clickhouse.command(
        f"INSERT INTO retention_changes ({', '.join(row)}) FORMAT JSONEachRow", data=orjson.dumps(row)
    )
