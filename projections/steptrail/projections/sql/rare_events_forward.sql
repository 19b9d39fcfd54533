-- Events of all documents after a position, oldest first, of statuses that few events have: WARNING, ERROR, FAILED, SKIPPED.
-- The projection p_by_time has all that is shown of them.
SELECT
    -- include: rare_event_columns
FROM steps
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND status IN {statuses:Array(String)}
  AND timestamp >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
  AND timestamp >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
  AND (timestamp > fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') OR toUInt128(event_id) > toUInt128({from_id:UUID}))
ORDER BY timestamp, toUInt128(event_id)
LIMIT {fetch:UInt64}
