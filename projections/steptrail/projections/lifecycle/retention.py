"""Retention: what is too old by the rules, and its removal, as whole parts where that is possible.

A row's age counts from when the broker had its event, which is the same however often the topic is replayed. Whole days
(UTC) go, so that a minute or an hour of counts goes with all of its events. What comes later than that, from a consumer
that was far behind or a topic that is read anew, goes the next time.

The delivery ledger is not touched: that a row is gone does not make its offset one that is yet to be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import QueryError, StoreRefused
from steptrail.projections.lifecycle.mutations import WAIT_S, delete, wait_for_mutations
from steptrail.projections.lifecycle.retention_rules import RetentionRules
from steptrail.projections.lifecycle.shadow_tables import shadow_event_tables, shadow_prefixes
from steptrail.projections.lifecycle.stored_tables import EVENT_TABLES, STEPS, EventTable

# Of a part that was merged away meanwhile, or is being merged: the next time.
_NOT_THERE: Final = frozenset({232, 384})  # NO_SUCH_DATA_PART, PART_IS_TEMPORARILY_LOCKED


@dataclass(frozen=True, slots=True)
class Expired:
    """Rows of a table that are too old by the rules; `oldest_at` and `newest_at` in UTC, by the broker's clock."""

    table: str
    pipeline: str
    rows: int
    oldest_at: datetime
    newest_at: datetime


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed from a table: rows, of them with whole parts, and how many parts these were."""

    table: str
    rows: int
    dropped_rows: int
    dropped_parts: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What is stored of a pipeline: events, from when to when the broker had them (UTC)."""

    pipeline: str
    events: int
    oldest_at: datetime
    newest_at: datetime


def kept(clickhouse: ClickHouse) -> list[Kept]:
    """What is stored, by pipeline."""
    return [
        Kept(str(pipeline), int(events), oldest, newest)
        for pipeline, events, oldest, newest in clickhouse.query(
            f"SELECT pipeline, count(), min({STEPS.time}), max({STEPS.time}) FROM {STEPS.name} "
            "GROUP BY pipeline ORDER BY pipeline"
        )
    ]


def today(clickhouse: ClickHouse) -> datetime:
    """The begin of the day (UTC) by the store's clock."""
    [(seconds,)] = clickhouse.query("SELECT toUnixTimestamp(toStartOfDay(now('UTC')))")
    return datetime.fromtimestamp(int(seconds), timezone.utc)


def expired(clickhouse: ClickHouse, rules: RetentionRules) -> list[Expired]:
    """What `apply` would remove, by table and pipeline, under these rules."""
    day = today(clickhouse)
    return [one for table in EVENT_TABLES for one in _expired(clickhouse, table, too_old(table, rules, day))]


def _expired(clickhouse: ClickHouse, table: EventTable, condition: str | None) -> list[Expired]:
    if condition is None:
        return []
    time = f"toDateTime64({table.time}, 3, 'UTC')"
    return [
        Expired(table.name, str(pipeline), int(rows), oldest, newest)
        for pipeline, rows, oldest, newest in clickhouse.query(
            f"SELECT pipeline, count(), min({time}), max({time}) FROM {table.name} WHERE {condition} "
            "GROUP BY pipeline ORDER BY pipeline"
        )
    ]


def apply(clickhouse: ClickHouse, rules: RetentionRules, *, timeout: float = WAIT_S) -> list[Removed]:
    """Remove what is too old by the rules; the tables of which something was removed.

    Parts in which everything is too old are dropped, others are written anew without it. Safe to call from several
    processes at once, and again after it was cut off. Raises InfrastructureError when the store is away or does not
    come to an end within `timeout` seconds for a table.
    """
    removed = []
    day = today(clickhouse)
    for table in (*EVENT_TABLES, *shadow_event_tables(shadow_prefixes(clickhouse))):
        condition = too_old(table, rules, day)
        if condition is not None and (one := _apply(clickhouse, table, condition, timeout)) is not None:
            removed.append(one)
    return removed


def _apply(clickhouse: ClickHouse, table: EventTable, condition: str, timeout: float) -> Removed | None:
    # One that is under way may be the same: another would only wait behind it.
    wait_for_mutations(clickhouse, table.name, timeout=timeout)
    parts = clickhouse.query(
        f"SELECT _part, count() AS rows, countIf({condition}) AS old FROM {table.name} GROUP BY _part HAVING old > 0"
    )
    if not parts:
        return None
    dropped_rows = dropped_parts = 0
    left = False
    for part, rows, old in parts:
        # By name: a part that was merged, or got other rows, has another one.
        if rows == old and _drop(clickhouse, table, str(part)):
            dropped_rows += int(rows)
            dropped_parts += 1
        else:
            left = True
    if left:
        delete(clickhouse, table.name, condition, timeout=timeout)
    return Removed(table.name, sum(int(old) for _, _, old in parts), dropped_rows, dropped_parts)


def _drop(clickhouse: ClickHouse, table: EventTable, part: str) -> bool:
    if shadow_prefixes(clickhouse):
        return (
            False  # an exchange may give the name to another table, which may have another part of that name
        )
    try:
        clickhouse.command(f"ALTER TABLE {table.name} DROP PART '{part}'")
    except QueryError as error:
        if error.code in _NOT_THERE:
            return False
        raise
    except StoreRefused as error:
        if error.code in _NOT_THERE:
            return False
        raise
    return True


def too_old(table: EventTable, rules: RetentionRules, day: datetime) -> str | None:
    """SQL: the row of `table` is too old on this `day`; None where nothing ever is."""
    named = sorted(name for name, rule in rules.of_pipelines.items() if rule.own or rule.held)
    clauses = [
        _clause(table, f"pipeline = {_quoted(name)}", day, days)
        for name in named
        if (days := rules.days(name)) is not None
    ]
    if rules.default.days is not None:
        others = f"pipeline NOT IN ({', '.join(map(_quoted, named))})" if named else "1"
        clauses.append(_clause(table, others, day, rules.default.days))
    return " OR ".join(clauses) if clauses else None


def _clause(table: EventTable, whose: str, day: datetime, days: int) -> str:
    before = f"toDateTime64('{(day - timedelta(days=days)).strftime('%Y-%m-%d')} 00:00:00', 3, 'UTC')"
    parts: Sequence[str] = [whose, f"{table.time} < {before}"]
    if table.stays is not None:
        parts = [*parts, f"NOT ({table.stays.replace('{before}', before)})"]
    return f"({' AND '.join(parts)})"


def _quoted(name: str) -> str:
    return f"unhex('{name.encode().hex()}')"
