-- Executions of some steps that run, are their step's current one, began before their step's bound by the workers'
-- clocks and are not said to be stalled; in the order of their beginning, from a position on. The bounds come as
-- three arrays of one length. By the broker's clock an execution begins no earlier, so none that is late is missing.
-- What waits for a retry has superseded what ran before it: see step_state.
-- Rows that run are found first, merged or not: few, once merges have joined starts with their endings. What else is
-- known of their documents' steps is looked up by the primary key. FINAL would read everything.
SELECT
    candidate.pipeline                                 AS pipeline,
    candidate.step_name                                AS step_name,
    candidate.doc_id                                   AS doc_id,
    candidate.latest.2                                 AS execution_id,
    toUnixTimestamp64Micro(candidate.latest.4)         AS first_run_us
FROM
(
    SELECT
        execution.pipeline AS pipeline, execution.step_name AS step_name, execution.doc_id AS doc_id,
        maxIf((
            (execution.latest_any, toUInt128(execution.execution_id)),
            execution.execution_id,
            execution.rank,
            ifNull(execution.began, execution.latest_any),
            execution.attempt
        ), execution.rank > 0) AS latest,
        groupArrayIf((execution.latest_any, execution.attempt), execution.rank = 0) AS queued
    FROM
    (
        SELECT
            part.pipeline AS pipeline, part.step_name AS step_name, part.doc_id AS doc_id,
            part.execution_id AS execution_id, max(part.winner.1) AS rank, min(part.first_run) AS began,
            max(part.last_any) AS latest_any, max(part.attempt) AS attempt
        FROM step_executions AS part
        WHERE (part.pipeline, part.step_name, part.doc_id) IN
        (
            SELECT open.pipeline, open.step_name, open.doc_id
            FROM step_executions AS open
            WHERE (open.pipeline, open.step_name) IN
                (
                    SELECT bound.1, bound.2
                    FROM (SELECT arrayJoin(arrayZip({pipelines:Array(String)}, {steps:Array(String)})) AS bound)
                )
              AND open.winner.1 = 1
              AND toUnixTimestamp64Micro(assumeNotNull(open.first_run)) <= arrayMax({before_us:Array(Int64)})
        )
        GROUP BY part.pipeline, part.step_name, part.doc_id, part.execution_id
    ) AS execution
    GROUP BY execution.pipeline, execution.step_name, execution.doc_id
) AS candidate
WHERE candidate.latest.3 = 1
  AND NOT arrayExists(
        q -> q.1 > candidate.latest.1.1 AND (q.2 > candidate.latest.5 OR q.1 > candidate.latest.1.1 + toIntervalSecond(1)),
        candidate.queued
    )
  AND first_run_us <= arrayElement(
        {before_us:Array(Int64)},
        indexOf(arrayZip({pipelines:Array(String)}, {steps:Array(String)}), (toString(candidate.pipeline), toString(candidate.step_name)))
    )
  AND (first_run_us > {after_us:Int64} OR (first_run_us = {after_us:Int64} AND toUInt128(execution_id) > toUInt128({after_id:UUID})))
  AND execution_id NOT IN (SELECT stalls_said.execution_id FROM stalls_said)
ORDER BY first_run_us, toUInt128(execution_id)
LIMIT {fetch:UInt64}
