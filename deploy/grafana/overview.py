"""The dashboard of everything: what is failing, how much is done, how the steps are."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard

from grafana.panels import (
    PIPELINES,
    STATUS_COLOURS,
    STEPS,
    board,
    lines,
    number,
    pipelines,
    rows,
    steps_of_pipelines,
    to_document,
    to_step,
)

CHOSEN = f"{PIPELINES} AND {STEPS}"

FAILING = f"""
SELECT uniqExact(pipeline, doc_id) AS documents FROM step_state
WHERE status IN ('ERROR', 'FAILED') AND $__timeFilter(updated_at) AND {CHOSEN}
"""
STUCK = f"SELECT count() AS steps FROM stuck_work WHERE {CHOSEN}"
DONE = f"""
SELECT sum(success + warning + error + failed + skipped) AS executions FROM step_minutes
WHERE $__timeFilter(minute) AND {CHOSEN}
"""
RATIO = f"""
SELECT sum(error + failed) / nullIf(sum(success + warning + error + failed), 0) AS ratio FROM step_minutes
WHERE $__timeFilter(minute) AND {CHOSEN}
"""
VERDICTS = f"""
SELECT countIf(status IN ('WARNING', 'CRITICAL')) AS steps FROM health_state WHERE step_name != '' AND {CHOSEN}
"""
SIGHT = """
SELECT if(count() = 0, NULL, dateDiff('millisecond', argMax(watermark, at), now64(3)) / 1000.) AS behind
FROM health_sight
"""
THROUGHPUT = f"""
SELECT $__timeInterval(minute) AS time,
    sum(success) AS SUCCESS, sum(warning) AS WARNING, sum(error) AS ERROR, sum(failed) AS FAILED, sum(skipped) AS SKIPPED
FROM step_minutes WHERE $__timeFilter(minute) AND {CHOSEN} GROUP BY time ORDER BY time
"""
ERROR_RATIO = f"""
SELECT $__timeInterval(minute) AS time, concat(pipeline, ' / ', step_name) AS step,
    sum(error + failed) / nullIf(sum(success + warning + error + failed), 0) AS ratio
FROM step_minutes WHERE $__timeFilter(minute) AND {CHOSEN}
GROUP BY time, step HAVING isNotNull(ratio) ORDER BY time
"""
STEP_ROWS = f"""
SELECT toString(s.pipeline) AS pipeline, toString(s.step_name) AS step,
    ifNull(nullIf(toString(any(h.status)), ''), 'UNKNOWN') AS verdict,
    sum(s.success + s.warning + s.error + s.failed + s.skipped) AS executions,
    sum(s.error + s.failed) / nullIf(sum(s.success + s.warning + s.error + s.failed), 0) AS error_ratio,
    if(sum(s.timed) = 0, NULL, quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(s.durations)[3]) AS p95,
    any(h.sentence) AS sentence, hex(s.pipeline) AS pipeline_hex, hex(s.step_name) AS step_hex
FROM (SELECT * FROM step_minutes WHERE $__timeFilter(minute) AND {CHOSEN}) AS s
LEFT JOIN (SELECT pipeline, step_name, toString(status) AS status, sentence FROM health_state) AS h
    ON s.pipeline = h.pipeline AND s.step_name = h.step_name
GROUP BY s.pipeline, s.step_name ORDER BY error_ratio DESC NULLS LAST, executions DESC LIMIT 200
"""
FAILING_ROWS = f"""
SELECT updated_at AS since, toString(pipeline) AS pipeline, doc_id AS document, toString(step_name) AS step,
    toString(status) AS status, attempt, error_type, substringUTF8(ifNull(error_message, ''), 1, 300) AS error
FROM step_state
WHERE status IN ('ERROR', 'FAILED') AND $__timeFilter(updated_at) AND {CHOSEN}
ORDER BY updated_at DESC LIMIT 200
"""


def overview() -> dashboard.Dashboard:
    """`steptrail-overview`."""
    panels = [
        number("Failing now", FAILING, about="Documents with a step whose current state is ERROR or FAILED", bad_from=1),
        number("Stuck", STUCK, about="Steps that stalled, or are open for more than ten minutes", bad_from=1),
        number("Unwell steps", VERDICTS, about="Steps whose verdict is WARNING or CRITICAL", bad_from=1),
        number("Behind", SIGHT, about="How far back everything is known, by the health consumer's watermark; no data: "
               "none has run", unit="s", bad_from=60),
        number("Executions ended", DONE, about="In the time that is chosen"),
        number("Error ratio", RATIO, about="Of the executions that ended", unit="percentunit", bad_from=0.05),
        lines("Executions ended", THROUGHPUT, about="By how they ended", stacked=True, colours=STATUS_COLOURS),
        lines("Error ratio by step", ERROR_RATIO, about="Of the executions that ended", unit="percentunit"),
        rows("Steps", STEP_ROWS, about="Each step: verdict, executions, error ratio, p95", links={"step": to_step()},
             hidden=("pipeline_hex", "step_hex"), units={"p95": "ms", "error_ratio": "percentunit"}),
        rows("Failing now", FAILING_ROWS, about="The last state of each failing step", links={"document": to_document()}),
    ]  # fmt: skip
    return board(
        "steptrail-overview",
        "steptrail: overview",
        "What is failing, how much is done, and how each step is.",
        panels,
        [pipelines(), steps_of_pipelines()],
    )
