"""To which error group an error belongs, by what it says: the store computes it as it does when it counts."""

from __future__ import annotations

from functools import cache

from steptrail.projections.aggregates.error_group_counts import GROUP_ID
from steptrail.projections.aggregates.templates import LONGEST_INPUT, template_sql
from steptrail.projections.clickhouse.queries import Store, ask_sql


def group_and_documents(
    store: Store, pipeline: str, step_name: str, error_type: str | None, message: str | None
) -> tuple[str, int] | None:
    """The id of the group and how many documents it has; None while none of its minutes has been counted."""
    parameters = _parameters(pipeline, step_name, error_type, message)
    rows = ask_sql(store, _counted(), parameters)
    return (str(rows[0]["group_id"]), int(rows[0]["documents"])) if rows else None


def _parameters(pipeline: str, step_name: str, error_type: str | None, message: str | None) -> dict[str, str]:
    said = (message or "").encode()[: LONGEST_INPUT + 1].decode(errors="ignore")
    return {"pipeline": pipeline, "step": step_name, "type": error_type or "", "message": said}


@cache
def _counted() -> str:
    return f"""
SELECT hourly.group_id AS group_id, uniqMerge(hourly.documents) AS documents
FROM error_group_hours AS hourly FINAL
WHERE hourly.group_id IN ({_statement()})
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
