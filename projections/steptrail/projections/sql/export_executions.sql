-- Every execution that began within a span, once, with what it ended in or is in now.
SELECT
    pipeline, doc_id, step_name, toString(execution_id) AS execution_id, toString(winner.4) AS status, attempt,
    first_any AS first_event_at, first_run AS started_at, if(winner.1 = 2, winner.2, NULL) AS ended_at,
    last_any AS last_event_at
FROM step_executions FINAL
WHERE ({any_pipeline:Bool} OR step_executions.pipeline = {pipeline:String})
  AND ({any_step:Bool} OR step_executions.step_name = {step_name:String})
  AND toString(winner.4) IN {statuses:Array(String)}
  AND first_any >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
  AND first_any < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
