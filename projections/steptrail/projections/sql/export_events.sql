-- Every event of a span once, with all that people are shown of one.
SELECT
    pipeline, doc_id, step_name, toString(status) AS status, timestamp, broker_time, toString(event_id) AS event_id,
    toString(execution_id) AS execution_id, attempt, duration_ms, toNullable(toString(error_type)) AS error_type, error_message,
    details, metrics, depends_on, trace_id, toString(worker) AS worker
FROM steps FINAL
WHERE ({any_pipeline:Bool} OR steps.pipeline = {pipeline:String})
  AND ({any_step:Bool} OR steps.step_name = {step_name:String})
  AND steps.status IN {statuses:Array(String)}
  AND steps.timestamp >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
  AND steps.timestamp < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
