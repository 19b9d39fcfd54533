-- One document's events before a position, newest first; as document_events_forward otherwise.
SELECT
    -- include: event_columns
FROM steps
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND doc_id = {doc_id:String}
  AND status IN {statuses:Array(String)}
  AND timestamp >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
  AND timestamp <= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
  AND (timestamp < fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') OR toUInt128(event_id) < toUInt128({from_id:UUID}))
ORDER BY timestamp DESC, toUInt128(event_id) DESC
LIMIT {fetch:UInt64}
SETTINGS optimize_use_projections = 0  -- the primary key it is; weighing the others takes a third of the time
