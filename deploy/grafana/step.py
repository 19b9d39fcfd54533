"""The dashboard of one step: durations, throughput, errors, what it does now."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from grafana.panels import (
    STATUS_COLOURS,
    board,
    lines,
    number,
    pipelines,
    rows,
    steps_of_pipelines,
    to_document,
)

CHOSEN = "pipeline = unhex('${pipeline:raw}') AND step_name = unhex('${step:raw}')"

RUNNING = f"SELECT count() AS documents FROM step_state WHERE status = 'RUNNING' AND {CHOSEN}"
WAITING = f"SELECT count() AS documents FROM step_state WHERE status = 'PENDING' AND {CHOSEN}"
FAILING = f"""
SELECT count() AS documents FROM step_state
WHERE status IN ('ERROR', 'FAILED') AND $__timeFilter(updated_at) AND {CHOSEN}
"""
P95 = f"""
SELECT if(sum(timed) = 0, NULL, quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(durations)[3]) AS p95
FROM step_minutes WHERE $__timeFilter(minute) AND {CHOSEN}
"""
VERDICT = f"""
SELECT toString(status) AS verdict, since, sentence FROM health_state WHERE {CHOSEN}
"""
DURATIONS = f"""
SELECT $__timeInterval(minute) AS time, quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(durations) AS quantiles,
    if(sum(timed) = 0, NULL, quantiles[2]) AS p50, if(sum(timed) = 0, NULL, quantiles[3]) AS p95,
    if(sum(timed) = 0, NULL, quantiles[4]) AS p99
FROM step_minutes WHERE $__timeFilter(minute) AND {CHOSEN} GROUP BY time ORDER BY time
"""
DURATIONS = f"SELECT time, p50, p95, p99 FROM ({DURATIONS.strip()})"
THROUGHPUT = f"""
SELECT $__timeInterval(minute) AS time,
    sum(success) AS SUCCESS, sum(warning) AS WARNING, sum(error) AS ERROR, sum(failed) AS FAILED, sum(skipped) AS SKIPPED
FROM step_minutes WHERE $__timeFilter(minute) AND {CHOSEN} GROUP BY time ORDER BY time
"""
STARTED = f"""
SELECT $__timeInterval(minute) AS time, sum(pending) AS queued, sum(running) AS started
FROM step_minutes WHERE $__timeFilter(minute) AND {CHOSEN} GROUP BY time ORDER BY time
"""
METRICS = f"""
SELECT $__timeInterval(minute) AS time, metric, sum(sum) / sum(values) AS mean
FROM step_metrics WHERE $__timeFilter(minute) AND {CHOSEN} GROUP BY time, metric ORDER BY time
"""
STUCK_ROWS = f"""
SELECT state, since, seconds AS open_for, toString(pipeline) AS pipeline, doc_id AS document, says FROM stuck_work
WHERE {CHOSEN} ORDER BY since LIMIT 100
"""
EVENT_ROWS = f"""
SELECT timestamp, toString(status) AS status, toString(pipeline) AS pipeline, doc_id AS document, attempt,
    duration_ms, error_type, substringUTF8(ifNull(error_message, ''), 1, 300) AS error, toString(worker) AS worker
FROM steps
WHERE {CHOSEN} AND status IN ('WARNING', 'ERROR', 'FAILED') AND $__timeFilter(timestamp)
ORDER BY timestamp DESC LIMIT 1 BY event_id LIMIT 100
"""


def step() -> dashboard.Dashboard:
    """`steptrail-step`."""
    panels = [
        number("Running", RUNNING, about="Documents in this step now", span=6),
        number("Queued", WAITING, about="Documents that wait for this step", span=6),
        number("Failing now", FAILING, about="Documents whose last execution ended in ERROR or FAILED", bad_from=1, span=6),
        number("p95", P95, about="Of the executions that ended", unit="ms", span=6),
        rows("Verdict", VERDICT, about="What the health consumer says of it", height=4),
        lines("Durations", DURATIONS, about="To within 2 %", unit="ms"),
        lines("Executions ended", THROUGHPUT, about="By how they ended", stacked=True, colours=STATUS_COLOURS),
        lines("Queued and started", STARTED, about="PENDING and RUNNING events"),
        lines("Metrics", METRICS, about="The mean of each metric that workers give"),
        rows("Stuck", STUCK_ROWS, about="Stalled, or open for more than ten minutes", units={"open_for": "s"},
             links={"document": to_document()}, height=6),
        rows("Last errors and warnings", EVENT_ROWS, about="Newest first", units={"duration_ms": "ms"},
             links={"document": to_document()}),
    ]  # fmt: skip
    return board(
        "steptrail-step",
        "steptrail: one step",
        "How long one step takes, how it ends, and what it does now.",
        panels,
        [pipelines(many=False), steps_of_pipelines(many=False)],
    )
