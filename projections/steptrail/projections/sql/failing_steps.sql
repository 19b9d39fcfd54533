-- Steps of documents whose current execution ended in ERROR or FAILED, as step_state decides it. Steps with an execution
-- that ended so are found first, by the hash of their key. Those that ended well after everything else are left out
-- before their executions are put together: `ended_well` is later than any other event of the step, so no execution
-- that ended badly is the current one, merged or not.
-- `failing_since` is the first bad ending after the last good one.
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
        SELECT
            found.pipeline AS pipeline, found.step_name AS step_name, found.doc_id AS doc_id, found.part.1 AS execution_id,
            max(found.part.2) AS winner, max(found.part.3) AS latest_any, max(found.part.4) AS attempt
        FROM
        (
            WITH
                part.winner.1 = 2 AND part.winner.4 NOT IN ('ERROR', 'FAILED') AND part.last_any = part.winner.2 AS is_well,
                maxIf(part.winner.2, is_well)       AS ended_well,
                maxIf(part.last_any, NOT is_well)   AS last_other
            SELECT
                part.pipeline AS pipeline, part.step_name AS step_name, part.doc_id AS doc_id,
                arrayJoin(groupArray((part.execution_id, part.winner, part.last_any, part.attempt))) AS part
            FROM step_executions AS part
            WHERE cityHash64(part.pipeline, part.step_name, part.doc_id) IN
                (
                    SELECT cityHash64(bad.pipeline, bad.step_name, bad.doc_id)
                    FROM step_executions AS bad
                    WHERE ({any_pipeline:Bool} OR bad.pipeline = {pipeline:String})
                      AND ({any_step:Bool} OR bad.step_name = {step_name:String})
                      AND bad.winner.4 IN ('ERROR', 'FAILED')
                      AND bad.winner.2 >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
                      AND bad.winner.2 < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
                )
              AND ({any_pipeline:Bool} OR part.pipeline = {pipeline:String})
              AND ({any_step:Bool} OR part.step_name = {step_name:String})
            GROUP BY part.pipeline, part.step_name, part.doc_id
            HAVING ended_well <= last_other
        ) AS found
        GROUP BY found.pipeline, found.step_name, found.doc_id, found.part.1
    ) AS execution
    GROUP BY execution.pipeline, execution.step_name, execution.doc_id
    HAVING latest.3 IN {statuses:Array(String)} AND queued_last <= latest.1.1
       AND latest.4 >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
       AND latest.4 < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
