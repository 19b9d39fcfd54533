"""To which error group an error belongs, by what it says: the store computes it as it does when it counts."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any, Final

from steptrail.projections.aggregates.error_group_counts import GROUP_ID
from steptrail.projections.aggregates.templates import LONGEST_INPUT, template_sql
from steptrail.projections.clickhouse.queries import Store, ask_sql

_MOST_KEPT: Final = 10_000
_kept: dict[bytes, str] = {}
"""Ids that were computed, by a digest of what they are computed from: that costs three times as much as to count."""


def group_and_documents(
    store: Store, pipeline: str, step_name: str, error_type: str | None, message: str | None
) -> tuple[str, int] | None:
    """The id of the group and how many documents it has; None while none of its minutes has been counted."""
    said = (message or "").encode()[: LONGEST_INPUT + 1].decode(errors="ignore")
    parameters = {"pipeline": pipeline, "step": step_name, "type": error_type or "", "message": said}
    group_id = _group_id(store, parameters)
    rows: list[dict[str, Any]] = ask_sql(store, _COUNTED, {"group_id": group_id})
    return (group_id, int(rows[0]["documents"])) if rows else None


def _group_id(store: Store, parameters: dict[str, str]) -> str:
    # As JSON, since each of the texts may hold any character that could stand between them.
    key = hashlib.blake2b(json.dumps(parameters).encode(), digest_size=16).digest()
    found = _kept.get(key)
    if found is None:
        [row] = ask_sql(store, _statement(), parameters)
        if len(_kept) >= _MOST_KEPT:
            _kept.clear()
        found = _kept[key] = str(row["group_id"])
    return found


_COUNTED: Final = """
SELECT uniqMerge(hourly.documents) AS documents
FROM error_group_hours AS hourly FINAL
WHERE hourly.group_id = {group_id:String}
GROUP BY hourly.group_id
"""


@cache
def _statement() -> str:
    return f"""
SELECT {GROUP_ID.format("template")} AS group_id
FROM
(
    SELECT pipeline, step_name, error_type, {template_sql("message")} AS template
    FROM
    (
        SELECT {{pipeline:String}} AS pipeline, {{step:String}} AS step_name, {{type:String}} AS error_type,
            {{message:String}} AS message
    )
)
"""
