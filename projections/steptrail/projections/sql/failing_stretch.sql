-- Bad endings of a span before a position, the latest first: only how far back so many of them reach is wanted.
SELECT toUnixTimestamp64Micro(timestamp) AS timestamp_us, event_id
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
