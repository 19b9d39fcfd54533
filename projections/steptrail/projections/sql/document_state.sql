-- The current state of each step of one document, in the order in which the steps' current executions began. A step
-- that runs and whose current execution was last observed as STALLED says since when.
SELECT
    state.pipeline      AS pipeline,
    state.doc_id        AS doc_id,
    state.step_name     AS step_name,
    state.status        AS status,
    state.attempt       AS attempt,
    state.execution_id  AS execution_id,
    if(isNull(state.queued_at), NULL, toUnixTimestamp64Micro(assumeNotNull(state.queued_at)))    AS queued_us,
    if(isNull(state.started_at), NULL, toUnixTimestamp64Micro(assumeNotNull(state.started_at)))  AS started_us,
    toUnixTimestamp64Micro(state.updated_at)                                                     AS updated_us,
    state.duration_ms   AS duration_ms,
    state.error_type    AS error_type,
    state.error_message AS error_message,
    state.details       AS details,
    state.metrics       AS metrics,
    state.depends_on    AS depends_on,
    state.executions    AS executions,
    state.events        AS events,
    if(state.status = 'RUNNING', said.stalled_us, NULL)  AS stalled_us
FROM step_state AS state
LEFT JOIN
(
    SELECT pipeline, step_name, execution_id, toNullable(toUnixTimestamp64Micro(stalled_since)) AS stalled_us
    FROM stalls_said
    WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
      AND doc_id = {doc_id:String}
) AS said ON said.pipeline = state.pipeline AND said.step_name = state.step_name AND said.execution_id = state.execution_id
WHERE ({any_pipeline:Bool} OR state.pipeline = {pipeline:String})
  AND state.doc_id = {doc_id:String}
ORDER BY pipeline, coalesce(started_us, updated_us), step_name
SETTINGS optimize_use_projections = 0  -- the primary key it is; weighing the others takes a third of the time
