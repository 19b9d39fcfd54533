"""What alerting asks of ClickHouse: error groups that are new or back, and the health consumer's sign of life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from steptrail.projections.clickhouse.errors import QueryError
from steptrail.projections.clickhouse.queries import Store

MOST_GROUPS = 1000
"""So many groups at a time have alerts; beyond, the ones that were seen longest ago have none."""

_UNKNOWN_TABLE = 60

_GROUPS = """
SELECT toString(group_id) AS group_id, pipeline, step_name, ifNull(error_type, '') AS error_type, template,
       toString(state) AS state,
       toUnixTimestamp64Micro(CAST(if(toString(state) = 'NEW', first_seen, last_seen), 'DateTime64(6)')) / 1e6 AS since
FROM error_groups
WHERE toString(state) IN ('NEW', 'REGRESSED')
ORDER BY last_seen DESC
LIMIT {most:UInt32}
"""

_SIGHT = """
SELECT toUnixTimestamp64Milli(at) / 1e3 AS at_s, state = 'SEEING' AS seeing, reason,
       dateDiff('millisecond', at, now64(3)) / 1e3 AS age_s
FROM health_sight
ORDER BY at DESC
LIMIT 1
"""


@dataclass(frozen=True)
class AlertingGroup:
    """An error group that is NEW or REGRESSED; `since` in seconds since the epoch: seen first, or last."""

    group_id: str
    pipeline: str
    step_name: str
    error_type: str
    template: str
    state: str
    since: float


@dataclass(frozen=True)
class LatestSight:
    """The health consumer's latest sign of life: when (seconds since the epoch), how long ago, whether it sees."""

    at: float
    age_s: float
    seeing: bool
    reason: str


def alerting_groups(store: Store) -> list[AlertingGroup]:
    """Groups that are new or back, those first that were seen last; raises the store's errors."""
    return [
        AlertingGroup(
            str(row["group_id"]),
            str(row["pipeline"]),
            str(row["step_name"]),
            str(row["error_type"]),
            str(row["template"]),
            str(row["state"]),
            float(row["since"]),
        )
        for row in _rows(store, _GROUPS, {"most": MOST_GROUPS})
    ]


def latest_sight(store: Store) -> LatestSight | None:
    """None while no health consumer has ever run; raises the store's errors."""
    for row in _rows(store, _SIGHT, {}):
        return LatestSight(float(row["at_s"]), float(row["age_s"]), bool(row["seeing"]), str(row["reason"]))
    return None


def _rows(store: Store, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a statement; none where the table is not there yet."""
    try:
        return store.rows(sql, parameters)
    except QueryError as error:
        if error.code == _UNKNOWN_TABLE:
            return []
        raise
