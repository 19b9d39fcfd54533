-- Which execution is the current one of some steps of documents, as step_state decides it where that has ended badly;
-- `last_event` is the event that decides. The steps come as three arrays of one length.
SELECT
    toString(execution.pipeline) AS pipeline, toString(execution.step_name) AS step_name, execution.doc_id AS doc_id,
    maxIf(
        ((execution.latest_any, toUInt128(execution.execution_id)), execution.execution_id, execution.winner.3,
            execution.attempt, toString(execution.winner.4)),
        execution.winner.1 > 0)                                                     AS latest,
    latest.2                                                                        AS execution_id,
    latest.3                                                                        AS last_event,
    latest.4                                                                        AS attempt,
    latest.5                                                                        AS status,
    countIf(execution.winner.1 > 0)                                                 AS executions,
    maxIf(execution.latest_any, execution.winner.1 = 0) > latest.1.1                AS waits,
    maxIf(execution.winner.2, execution.winner.1 = 2 AND execution.winner.4 NOT IN ('ERROR', 'FAILED')) AS well_last,
    toUnixTimestamp64Micro(arrayMin(arrayFilter(
        at -> at > well_last,
        groupArrayIf(1000)(execution.winner.2, execution.winner.4 IN ('ERROR', 'FAILED')))))  AS since_us
FROM
(
    -- include: runs_of_steps_columns
        (
            SELECT step.1, step.2, step.3
            FROM (SELECT arrayJoin(arrayZip({pipelines:Array(String)}, {steps:Array(String)}, {docs:Array(String)})) AS step)
        )
    GROUP BY part.pipeline, part.step_name, part.doc_id, part.execution_id
) AS execution
GROUP BY execution.pipeline, execution.step_name, execution.doc_id
SETTINGS optimize_use_projections = 0  -- the primary key it is
