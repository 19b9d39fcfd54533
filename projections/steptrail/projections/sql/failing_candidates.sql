-- Bad endings of a span before a position, the latest first: status and time lead into the projection p_time, and the
-- wide columns are only read for the rows that are shown. Whether each is what its step is in now is looked up after.
SELECT
    pipeline, doc_id, step_name, status, toUnixTimestamp64Micro(timestamp) AS timestamp_us, event_id, execution_id,
    duration_ms, error_type, substringUTF8(error_message, 1, {most:UInt32}) AS error_message, trace_id, worker
FROM steps
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND ({any_step:Bool} OR step_name = {step_name:String})
  AND status IN {statuses:Array(String)}
  AND timestamp >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
  AND timestamp <= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
  AND (timestamp < fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') OR toUInt128(event_id) < toUInt128({from_id:UUID}))
ORDER BY timestamp DESC, toUInt128(event_id) DESC
LIMIT {fetch:UInt64}
