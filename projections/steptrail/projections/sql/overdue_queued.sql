-- Executions of some steps that are PENDING, were queued before their step's bound by the workers' clocks and after
-- {since_us}, were not begun or followed by any other, and are not said to be stalled; in the order in which they were
-- queued, from a position on. Of several that one document's step waits with, the first, which speaks for all. As in
-- overdue_executions the bounds come as three arrays, and rows that wait are found first.
SELECT
    candidate.pipeline                                 AS pipeline,
    candidate.step_name                                AS step_name,
    candidate.doc_id                                   AS doc_id,
    candidate.first.2                                  AS execution_id,
    toUnixTimestamp64Micro(candidate.first.1)          AS first_run_us
FROM
(
    WITH
        maxIf((execution.latest_any, toUInt128(execution.execution_id), execution.attempt, execution.failed), execution.rank > 0) AS latest,
        countIf(execution.rank > 0)                    AS runs,
        -- As in stall_state.
        arrayFilter(
            q -> runs = 0 OR (q.3 > latest.1 AND (latest.4 OR q.4 > latest.3 OR q.3 > latest.1 + toIntervalSecond(1))),
            groupArrayIf(
                (execution.earliest_any, execution.execution_id, execution.latest_any, execution.attempt),
                execution.rank = 0)
        )                                              AS waiting
    SELECT
        execution.pipeline AS pipeline, execution.step_name AS step_name, execution.doc_id AS doc_id,
        arraySort(q -> (q.1, toUInt128(q.2)), waiting) AS ordered,
        ordered[1]                                     AS first,
        notEmpty(ordered)                              AS waits
    FROM
    (
        SELECT
            part.pipeline AS pipeline, part.step_name AS step_name, part.doc_id AS doc_id,
            part.execution_id AS execution_id, max(part.winner) AS winner, winner.1 AS rank,
            winner.4 IN ('ERROR', 'FAILED') AS failed, min(part.first_any) AS earliest_any,
            max(part.last_any) AS latest_any, max(part.attempt) AS attempt
        FROM step_executions AS part
        WHERE (part.pipeline, part.step_name, part.doc_id) IN
        (
            SELECT queued.pipeline, queued.step_name, queued.doc_id
            FROM step_executions AS queued
            WHERE (queued.pipeline, queued.step_name) IN
                (
                    SELECT bound.1, bound.2
                    FROM (SELECT arrayJoin(arrayZip({pipelines:Array(String)}, {steps:Array(String)})) AS bound)
                )
              AND queued.winner.1 = 0
              AND toUnixTimestamp64Micro(queued.first_any) <= arrayMax({before_us:Array(Int64)})
              AND toUnixTimestamp64Micro(queued.first_any) > {since_us:Int64}
        )
        GROUP BY part.pipeline, part.step_name, part.doc_id, part.execution_id
    ) AS execution
    GROUP BY execution.pipeline, execution.step_name, execution.doc_id
) AS candidate
WHERE candidate.waits
  AND first_run_us <= arrayElement(
        {before_us:Array(Int64)},
        indexOf(arrayZip({pipelines:Array(String)}, {steps:Array(String)}), (toString(candidate.pipeline), toString(candidate.step_name)))
    )
  AND (first_run_us > {after_us:Int64} OR (first_run_us = {after_us:Int64} AND toUInt128(execution_id) > toUInt128({after_id:UUID})))
  AND execution_id NOT IN (SELECT stalls_said.execution_id FROM stalls_said)
ORDER BY first_run_us, toUInt128(execution_id)
LIMIT {fetch:UInt64}
