-- The current state of each step of one document, in the order in which the steps' current executions began.
SELECT
    pipeline,
    doc_id,
    step_name,
    status,
    attempt,
    execution_id,
    if(isNull(started_at), NULL, toUnixTimestamp64Micro(assumeNotNull(started_at)))  AS started_us,
    toUnixTimestamp64Micro(updated_at)                                               AS updated_us,
    duration_ms,
    error_type,
    error_message,
    details,
    metrics,
    depends_on,
    executions,
    events
FROM step_state
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND doc_id = {doc_id:String}
ORDER BY pipeline, coalesce(started_us, updated_us), step_name
SETTINGS optimize_use_projections = 0  -- the primary key it is; weighing the others takes a third of the time
