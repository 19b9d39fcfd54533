-- Documents of a span whose events carry a trace id that begins so.
SELECT trace_id, pipeline, doc_id, toUnixTimestamp64Micro(max(timestamp)) AS timestamp_us
FROM steps
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND timestamp >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
  AND startsWith(ifNull(trace_id, ''), {text:String})
GROUP BY trace_id, pipeline, doc_id
ORDER BY timestamp_us DESC, trace_id, doc_id
LIMIT {fetch:UInt64}
