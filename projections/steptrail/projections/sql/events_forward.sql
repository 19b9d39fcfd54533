-- Events of all documents after a position, oldest first. Status and time lead into the projection p_time, and
-- the wide columns are only read for the rows that are shown.
SELECT
    -- include: event_columns
FROM steps
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND status IN {statuses:Array(String)}
  AND timestamp >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
  AND timestamp >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
  AND (timestamp > fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') OR toUInt128(event_id) > toUInt128({from_id:UUID}))
ORDER BY timestamp, toUInt128(event_id)
LIMIT {fetch:UInt64}
