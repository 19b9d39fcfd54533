-- One document's events after a position, oldest first. The primary key leads to the document's granules and
-- is read in order. Copies of an event that was sent twice come side by side; the reader drops them.
SELECT
    -- include: event_columns
FROM steps
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND doc_id = {doc_id:String}
  AND status IN {statuses:Array(String)}
  AND timestamp >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
  AND timestamp >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
  AND (timestamp > fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') OR toUInt128(event_id) > toUInt128({from_id:UUID}))
ORDER BY timestamp, toUInt128(event_id)
LIMIT {fetch:UInt64}
SETTINGS optimize_use_projections = 0  -- the primary key it is; weighing the others takes a third of the time
