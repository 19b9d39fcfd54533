-- How long documents waited before a step began, since the end of the step before it: of the executions of a document
-- that had ended by then, the one that ended last. Of the documents one in so many (`share`), chosen by their ids.
WITH
    arrayJoin(document.began) AS run,
    arraySort(e -> e.1, arrayFilter(e -> e.1 <= run.1, document.ended))[-1] AS before
SELECT
    document.pipeline AS pipeline, run.2 AS step_name, before.2 AS after_step, count() AS waits,
    quantilesExact(0.5, 0.95, 0.99)((run.1 - before.1) / 1000.) AS quantiles, max((run.1 - before.1) / 1000.) AS max_ms
FROM
(
    SELECT
        execution.pipeline AS pipeline, execution.doc_id AS doc_id,
        groupArrayIf(500)((toUnixTimestamp64Micro(assumeNotNull(execution.began)), toString(execution.step_name)), isNotNull(execution.began)) AS began,
        groupArrayIf(500)((toUnixTimestamp64Micro(execution.winner.2), toString(execution.step_name)), execution.winner.1 = 2) AS ended
    FROM
    (
        SELECT
            part.pipeline AS pipeline, part.step_name AS step_name, part.doc_id AS doc_id,
            part.execution_id AS execution_id, max(part.winner) AS winner, min(part.first_run) AS began
        FROM step_executions AS part
        WHERE ({any_pipeline:Bool} OR part.pipeline = {pipeline:String})
          AND part.first_any >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
          AND part.first_any < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
          AND cityHash64(part.doc_id) % {share:UInt64} = 0
        GROUP BY part.pipeline, part.step_name, part.doc_id, part.execution_id
    ) AS execution
    GROUP BY execution.pipeline, execution.doc_id
) AS document
WHERE before.1 > 0 AND ({any_step:Bool} OR run.2 = {step_name:String})
GROUP BY pipeline, step_name, after_step
ORDER BY pipeline, step_name, waits DESC
LIMIT {fetch:UInt64}
SETTINGS optimize_use_projections = 0, max_bytes_before_external_group_by = 150000000
