"""Error groups: what fails in the same way, since when, how often, and what people decided about it.

    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.stores.error_groups import act, error_groups
    from steptrail.schemas import Settings

    with connect(Settings()) as clickhouse:
        for group in error_groups(clickhouse, "invoices"):
            print(group.state, group.count, group.step_name, group.template)

The health consumer counts them (`aggregates.aggregates`); the migration says what each state means.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal

from steptrail.projections.clickhouse.queries import Store, ask, micros, positive, scope, stored
from steptrail.schemas.errors import SteptrailError
from steptrail.schemas.event import datetime_from_us

if TYPE_CHECKING:
    from steptrail.projections.clickhouse.client import ClickHouse

LOOKED_AT: Final = 100_000
"""How many groups a listing looks at, those with most errors; further ones are counted, and that is all."""
MOST_LISTED: Final = 500

_HEX = re.compile(r"[0-9a-f]{1,16}")
_LEAST_SILENCE: Final = timedelta(hours=1)  # groups are kept by the hour
_EXAMPLES = 10


class GroupState(str, Enum):
    """How it stands with a group."""

    NEW = "NEW"
    """First seen a short time ago: a day, unless `set_rule` said otherwise."""
    ONGOING = "ONGOING"
    """Known for longer."""
    REGRESSED = "REGRESSED"
    """Seen again after it had been resolved, or after a long silence (a week)."""
    RESOLVED = "RESOLVED"
    """Resolved by hand, and not seen since."""
    MUTED = "MUTED"
    """Muted by hand, whatever comes."""


Action = Literal["RESOLVE", "REOPEN", "MUTE"]


class UnknownGroup(SteptrailError):
    """No group has this id, or several have ids that begin so."""


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """A group as it is now. Times are aware, UTC, and the broker's.

    `count` is exact; `documents` is exact up to 65,536 but for hash collisions, then within about 1 %. `templates` is
    more than 1 for a group that stands for the messages past the bound of their minute. `lately` are its errors
    since the time that was asked for, by whole hours, and `trend` these by hour: (begin, errors).
    `acted_at`, `acted_by` and `reason` are of the latest action; None and empty when there was none.
    """

    group_id: str
    pipeline: str
    step_name: str
    error_type: str
    template: str
    state: GroupState
    first_seen: datetime
    last_seen: datetime
    count: int
    documents: int
    templates: int
    acted_at: datetime | None
    acted_by: str
    reason: str
    lately: int
    trend: Sequence[tuple[datetime, int]]

    def since(self, hour: datetime) -> ErrorGroup:
        """The group with its errors since then, a whole hour, alone in `lately` and `trend`."""
        trend = tuple(each for each in self.trend if each[0] >= hour)
        return replace(self, trend=trend, lately=sum(errors for _, errors in trend))

    @classmethod
    def from_row(cls, row: Mapping[str, Any], trend: Sequence[tuple[datetime, int]]) -> ErrorGroup:
        """From a row with the columns of `sql/error_group_columns.sql`."""
        return cls(
            **{name: row[name] for name in ("group_id", "pipeline", "step_name", "error_type", "template")},
            state=GroupState(row["state"]),
            first_seen=_time(row["first_ms"]),
            last_seen=_time(row["last_ms"]),
            count=int(row["count"]),
            documents=int(row["documents"]),
            templates=int(row["templates"]),
            acted_at=None if row["acted_ms"] is None else _time(row["acted_ms"]),
            acted_by=row["acted_by"],
            reason=row["reason"],
            lately=sum(errors for _, errors in trend),
            trend=trend,
        )


@dataclass(frozen=True, slots=True)
class GroupList:
    """The groups with most errors lately, and how many `other_groups` there are with how many `other_errors` lately.

    When only some states were asked for, `not_looked_at` of the other groups may be in any state: they lie beyond the
    LOOKED_AT groups with most errors.
    """

    items: Sequence[ErrorGroup]
    other_groups: int
    other_errors: int
    not_looked_at: int

    def __iter__(self) -> Iterator[ErrorGroup]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Example:
    """An event of a group: when the broker had it, whose it is, and what it said (cut to 1 KiB)."""

    at: datetime
    event_id: str
    doc_id: str
    message: str


@dataclass(frozen=True, slots=True)
class TakenAction:
    """What somebody decided about a group, why and when (by the store's clock)."""

    action: Action
    reason: str
    acted_by: str
    acted_at: datetime


@dataclass(frozen=True, slots=True)
class GroupDetails:
    """A group with its latest events and all that was decided about it, the latest first."""

    group: ErrorGroup
    examples: Sequence[Example]
    actions: Sequence[TakenAction]


def error_groups(
    store: Store,
    pipeline: str | None = None,
    step_name: str | None = None,
    *,
    states: Collection[GroupState | str] = tuple(GroupState),
    since: datetime | None = None,
    limit: int = 50,
    looked_at: int = LOOKED_AT,
) -> GroupList:
    """The groups that had errors since then (by whole hours), those with most first, `limit` of them (500 at most).

    Raises ValueError for a state that is none, and what reading raises.
    """
    if positive("limit", limit) > MOST_LISTED:
        raise ValueError(f"limit must be at most {MOST_LISTED}, not {limit}")
    parameters = {
        **scope(pipeline, store),
        "any_step": step_name is None,
        "step_name": stored(step_name or "", store),
        "since_us": micros("since", since, 0),
        "most": positive("looked_at", looked_at),
    }
    chosen = sorted({GroupState(state).value for state in states})
    rows = ask(store, "error_groups", {**parameters, "states": chosen, "fetch": limit})
    trends = _trends(store, [row["group_id"] for row in rows], parameters["since_us"])
    items = [ErrorGroup.from_row(row, trends.get(row["group_id"], ())) for row in rows]
    matched = int(rows[0]["matched"]) if rows else 0
    matched_lately = int(rows[0]["matched_lately"]) if rows else 0
    beyond: Mapping[str, Any] = {"beyond": 0, "beyond_lately": 0}
    if len(chosen) < len(GroupState) or matched >= looked_at:  # else all that there are were looked at
        [beyond] = ask(store, "error_groups_beyond", parameters)
    return GroupList(
        tuple(items),
        other_groups=matched - len(rows) + int(beyond["beyond"]),
        other_errors=matched_lately
        - sum(int(row["lately"]) for row in rows)
        + int(beyond["beyond_lately"] or 0),
        not_looked_at=int(beyond["beyond"]),
    )


def error_group(store: Store, group_id: str, *, since: datetime | None = None) -> GroupDetails:
    """One group, by its id or the beginning of it; its trend since then. Raises UnknownGroup."""
    row = _found(store, group_id)
    known = str(row["group_id"])
    trend = _trends(store, [known], micros("since", since, 0)).get(known, ())
    examples = ask(store, "error_group_examples", {"group_id": known, "fetch": _EXAMPLES})
    actions = ask(store, "error_group_actions", {"group_id": known})
    return GroupDetails(
        ErrorGroup.from_row(row, trend),
        tuple(Example(**example) for example in examples),
        tuple(TakenAction(**action) for action in actions),
    )


def act(clickhouse: ClickHouse, group_id: str, action: Action, *, by: str, reason: str = "") -> GroupDetails:
    """Resolve, mute or reopen a group, named by its id or the beginning of it; the group as it is then.

    Each call is written down, also one that changes nothing. Raises UnknownGroup.
    """
    known = str(_found(clickhouse, group_id)["group_id"])
    clickhouse.command(
        "INSERT INTO error_group_actions (group_id, number, action_id, action, reason, acted_by) "
        "SELECT {id:String}, (SELECT max(number) FROM error_group_actions WHERE group_id = {id:String}) + 1, "
        "{action_id:UUID}, {action:String}, {reason:String}, {by:String}",
        {"id": known, "action_id": str(uuid.uuid4()), "action": action, "reason": reason, "by": by},
    )
    return error_group(clickhouse, known)


def rule(store: Store) -> tuple[timedelta, timedelta]:
    """For how long a group is new, and after how long a silence it is back."""
    found = store.rows(
        "SELECT new_for_s, silent_after_s FROM error_group_rules "
        "ORDER BY number DESC, toUInt128(change_id) DESC LIMIT 1"
    )
    if not found:
        return timedelta(days=1), timedelta(days=7)
    return timedelta(seconds=found[0]["new_for_s"]), timedelta(seconds=found[0]["silent_after_s"])


def set_rule(
    clickhouse: ClickHouse,
    *,
    by: str,
    new_for: timedelta | None = None,
    silent_after: timedelta | None = None,
    dry_run: bool = False,
) -> tuple[timedelta, timedelta]:
    """Change for how long a group is new, or after how long a silence (an hour at least) it is back; what holds then.

    It holds for all groups and all that has been counted already: states are found when they are asked for.
    """
    before = rule(clickhouse)
    new_for, silent_after = new_for or before[0], silent_after or before[1]
    if new_for < timedelta(seconds=1):
        raise ValueError(f"a group is new for a second at least, not {new_for}")
    if silent_after < _LEAST_SILENCE:
        raise ValueError(f"groups are kept by the hour: a silence lasts at least that, not {silent_after}")
    if dry_run:
        return new_for, silent_after
    clickhouse.command(
        "INSERT INTO error_group_rules (number, change_id, new_for_s, silent_after_s, changed_by) "
        "SELECT (SELECT max(number) FROM error_group_rules) + 1, {id:UUID}, {new:UInt32}, {silent:UInt32}, {by:String}",
        {
            "id": str(uuid.uuid4()),
            "new": int(new_for.total_seconds()),
            "silent": int(silent_after.total_seconds()),
            "by": by,
        },
    )
    return rule(clickhouse)


def _found(store: Store, group_id: str) -> dict[str, Any]:
    prefix = group_id.strip().lower()
    if not _HEX.fullmatch(prefix):
        raise UnknownGroup(
            f"{group_id!r} is no id of an error group: it has 16 hex digits, or the first of them"
        )
    rows = ask(store, "error_groups_by_id", {"prefix": prefix})
    if not rows:
        raise UnknownGroup(f"there is no error group {group_id}")
    if len(rows) > 1:
        raise UnknownGroup(
            f"several error groups begin with {group_id}: {', '.join(r['group_id'] for r in rows)}, …"
        )
    return rows[0]


def _trends(store: Store, ids: Sequence[str], since_us: int) -> dict[str, Sequence[tuple[datetime, int]]]:
    trends: dict[str, list[tuple[datetime, int]]] = {}
    for row in ask(store, "error_group_trend", {"ids": list(ids), "since_us": since_us}) if ids else ():
        trends.setdefault(row["group_id"], []).append((_time(row["begins"] * 1000), int(row["count"])))
    return {group_id: tuple(trend) for group_id, trend in trends.items()}


def _time(milliseconds: int) -> datetime:
    return datetime_from_us(int(milliseconds) * 1000)
