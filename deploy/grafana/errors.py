"""The dashboard of errors: groups, what is new, when they came."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from grafana.panels import (
    PIPELINES,
    STEPS,
    board,
    lines,
    number,
    pipelines,
    rows,
    steps_of_pipelines,
    to_document,
)

CHOSEN = f"{PIPELINES} AND {STEPS}"

ERRORS = f"SELECT sum(error + failed) AS errors FROM step_minutes WHERE $__timeFilter(minute) AND {CHOSEN}"
NEW = f"SELECT countIf(state = 'NEW') AS groups FROM error_groups WHERE {CHOSEN}"
REGRESSED = f"SELECT countIf(state = 'REGRESSED') AS groups FROM error_groups WHERE {CHOSEN}"
BY_STEP = f"""
SELECT $__timeInterval(minute) AS time, concat(pipeline, ' / ', step_name) AS step, sum(error + failed) AS errors
FROM step_minutes WHERE $__timeFilter(minute) AND {CHOSEN} GROUP BY time, step HAVING errors > 0 ORDER BY time
"""
BY_TYPE = f"""
SELECT $__timeInterval(timestamp) AS time, ifNull(nullIf(toString(error_type), ''), 'no type') AS type,
    uniqExact(event_id) AS errors
FROM steps WHERE status IN ('ERROR', 'FAILED') AND $__timeFilter(timestamp) AND {CHOSEN}
GROUP BY time, type ORDER BY time
"""
GROUP_ROWS = f"""
SELECT toString(state) AS state, count AS errors, documents, pipeline, step_name AS step, error_type,
    substringUTF8(template, 1, 300) AS error, first_seen, last_seen, group_id
FROM error_groups
WHERE last_seen >= $__fromTime AND first_seen <= $__toTime AND {CHOSEN} AND state NOT IN ('RESOLVED', 'MUTED')
ORDER BY state IN ('NEW', 'REGRESSED') DESC, last_seen DESC LIMIT 200
"""
LAST_ROWS = f"""
SELECT timestamp, toString(status) AS status, toString(pipeline) AS pipeline, doc_id AS document,
    toString(step_name) AS step, error_type, substringUTF8(ifNull(error_message, ''), 1, 300) AS error,
    toString(worker) AS worker
FROM steps WHERE status IN ('ERROR', 'FAILED') AND $__timeFilter(timestamp) AND {CHOSEN}
ORDER BY timestamp DESC LIMIT 1 BY event_id LIMIT 100
"""


def errors() -> dashboard.Dashboard:
    """`steptrail-errors`."""
    group = ("the group's page", "${pages}/errors/${__data.fields.group_id:percentencode}")
    panels = [
        number("Errors", ERRORS, about="ERROR and FAILED events in the time that is chosen", span=8),
        number("New groups", NEW, about="First seen a short time ago", bad_from=1, span=8),
        number("Regressed groups", REGRESSED, about="Back after they were resolved, or silent", bad_from=1, span=8),
        lines("Errors by step", BY_STEP, about="ERROR and FAILED events", stacked=True),
        lines("Errors by type", BY_TYPE, about="ERROR and FAILED events", stacked=True),
        rows("Groups", GROUP_ROWS, about="New and regressed ones first; resolved and muted ones are left out",
             links={"error": group}, hidden=("group_id",)),
        rows("Last errors", LAST_ROWS, about="Newest first", links={"document": to_document()}),
    ]  # fmt: skip
    return board(
        "steptrail-errors",
        "steptrail: errors",
        "Errors over time, and grouped by what they say.",
        panels,
        [pipelines(), steps_of_pipelines()],
    )
