-- Steps of documents that run or wait now, as step_state decides it. Executions without an ending are found first, by
-- the hash of their ids (an execution is of one step of one document): merged or not, that costs the same. The rest, of
-- few, is looked up by the primary key.
    WITH
        maxIf(
            ((execution.latest_any, toUInt128(execution.execution_id)), execution.execution_id, execution.winner.1,
                ifNull(execution.began, execution.latest_any), execution.attempt, execution.winner.4 IN ('ERROR', 'FAILED')),
            execution.winner.1 > 0)                     AS latest,
        countIf(execution.winner.1 > 0)                 AS runs,
        groupArrayIf(1000)(
            (execution.latest_any, execution.execution_id, execution.earliest_any, execution.attempt),
            execution.winner.1 = 0)                     AS queued,
        arrayFilter(
            q -> runs = 0 OR (q.1 > latest.1.1 AND (latest.6 OR q.4 > latest.5 OR q.1 > latest.1.1 + toIntervalSecond(1))),
            queued)                                     AS waiting
    SELECT
        execution.pipeline AS pipeline, execution.step_name AS step_name, execution.doc_id AS doc_id,
        notEmpty(waiting)                               AS waits,
        arrayMax(q -> (q.1, toUInt128(q.2)), waiting)   AS last_queued,
        if(waits, arrayFilter(q -> (q.1, toUInt128(q.2)) = last_queued, waiting)[1].2, latest.2) AS execution_id,
        if(waits, 'PENDING', 'RUNNING')                 AS status,
        toUnixTimestamp64Micro(if(waits, arrayMin(q -> q.3, waiting), latest.4)) AS since_us,
        if(waits, arrayMax(q -> q.4, waiting), latest.5) AS attempt,
        runs + waits                                    AS executions
    FROM
    (
-- include: runs_of_steps_columns
            (
                SELECT open.pipeline, open.step_name, open.doc_id
                FROM step_executions AS open
                WHERE ({any_pipeline:Bool} OR open.pipeline = {pipeline:String})
                  AND ({any_step:Bool} OR open.step_name = {step_name:String})
                  AND cityHash64(open.execution_id) IN
                    (
                        SELECT cityHash64(each.execution_id) AS run
                        FROM step_executions AS each
                        WHERE ({any_pipeline:Bool} OR each.pipeline = {pipeline:String})
                          AND ({any_step:Bool} OR each.step_name = {step_name:String})
                        GROUP BY run
                        HAVING max(each.winner.1) < 2
                    )
            )
        GROUP BY part.pipeline, part.step_name, part.doc_id, part.execution_id
    ) AS execution
    GROUP BY execution.pipeline, execution.step_name, execution.doc_id
    HAVING waits OR latest.3 = 1
