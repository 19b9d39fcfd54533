-- Executions whose id lies in a range of numbers; health_events lies in that order.
SELECT execution_id, any(toString(pipeline)) AS pipeline_name, any(doc_id) AS document, any(toString(step_name)) AS step,
    toUnixTimestamp64Micro(max(timestamp)) AS timestamp_us
FROM health_events
WHERE toUInt128(execution_id) >= {first:UInt128} AND toUInt128(execution_id) <= {last:UInt128}
  AND ({any_pipeline:Bool} OR pipeline = {pipeline:String})
GROUP BY execution_id
ORDER BY timestamp_us DESC
LIMIT {fetch:UInt64}
