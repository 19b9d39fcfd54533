"""To which error group an error belongs, by what it says: the store computes it as it does when it counts."""

from __future__ import annotations

from functools import cache

from steptrail.projections.aggregates.error_group_counts import GROUP_ID
from steptrail.projections.aggregates.templates import LONGEST_INPUT, template_sql
from steptrail.projections.clickhouse.queries import Store, ask_sql


def group_of_error(
    store: Store, pipeline: str, step_name: str, error_type: str | None, message: str | None
) -> str:
    """The id of the group, 16 hex digits. There may be no such group: its minute may not have been counted yet."""
    said = (message or "").encode()[: LONGEST_INPUT + 1].decode(errors="ignore")
    parameters = {"pipeline": pipeline, "step": step_name, "type": error_type or "", "message": said}
    [row] = ask_sql(store, _statement(), parameters)
    return str(row["group_id"])


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
