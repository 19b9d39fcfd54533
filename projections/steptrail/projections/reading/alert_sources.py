"""The error groups that alerts are about: those that are new or have come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from steptrail.projections.clickhouse.errors import QueryError
from steptrail.projections.clickhouse.queries import Store

MOST_GROUPS = 1000
"""So many groups at a time have alerts; beyond, the ones that were seen longest ago have none."""

UNKNOWN_TABLE = 60

_GROUPS = """
SELECT toString(group_id) AS group_id, pipeline, step_name, ifNull(error_type, '') AS error_type, template,
       toString(state) AS state,
       toUnixTimestamp64Micro(CAST(if(toString(state) = 'NEW', first_seen, last_seen), 'DateTime64(6)')) / 1e6 AS since
FROM error_groups
WHERE toString(state) IN ('NEW', 'REGRESSED')
ORDER BY last_seen DESC
LIMIT {most:UInt32}
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


def _rows(store: Store, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a statement; none where the table is not there yet."""
    try:
        return store.rows(sql, parameters)
    except QueryError as error:
        if error.code == UNKNOWN_TABLE:
            return []
        raise
