-- Steps of documents whose current execution ended in ERROR or FAILED, as step_state decides it. Executions that
-- ended so are found first; what else is known of these steps is looked up by the primary key.
-- `failing_since` is the first such ending after the last good one.
    SELECT
        execution.pipeline AS pipeline, execution.step_name AS step_name, execution.doc_id AS doc_id,
        maxIf(
            ((execution.latest_any, toUInt128(execution.execution_id)), execution.execution_id, execution.winner.4,
                execution.winner.2, execution.attempt),
            execution.winner.1 > 0)                                                     AS latest,
        countIf(execution.winner.1 > 0)                                                 AS executions,
        maxIf(execution.latest_any, execution.winner.1 = 0)                             AS queued_last,
        maxIf(execution.winner.2, execution.winner.1 = 2 AND execution.winner.4 NOT IN ('ERROR', 'FAILED')) AS well_last,
        arrayMin(arrayFilter(
            at -> at > well_last,
            groupArrayIf(100)(execution.winner.2, execution.winner.4 IN ('ERROR', 'FAILED')))) AS failing_since
    FROM
    (
-- include: runs_of_steps_columns
            (
                SELECT bad.pipeline, bad.step_name, bad.doc_id
                FROM step_executions AS bad
                WHERE ({any_pipeline:Bool} OR bad.pipeline = {pipeline:String})
                  AND ({any_step:Bool} OR bad.step_name = {step_name:String})
                  AND bad.winner.4 IN ('ERROR', 'FAILED')
                  AND bad.winner.2 >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
                  AND bad.winner.2 < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
            )
        GROUP BY part.pipeline, part.step_name, part.doc_id, part.execution_id
    ) AS execution
    GROUP BY execution.pipeline, execution.step_name, execution.doc_id
    HAVING latest.3 IN {statuses:Array(String)} AND queued_last <= latest.1.1
       AND latest.4 >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
       AND latest.4 < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
