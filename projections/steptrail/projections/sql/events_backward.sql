-- Events of all documents before a position, newest first; as events_forward otherwise.
SELECT
    -- include: event_columns
FROM steps
WHERE (pipeline, doc_id, timestamp, event_id) IN
    (
        SELECT pipeline, doc_id, timestamp, event_id
        FROM steps
        WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
          AND status IN {statuses:Array(String)}
          AND timestamp >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
          AND timestamp < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
          AND timestamp <= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
          AND (timestamp < fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') OR toUInt128(event_id) < toUInt128({from_id:UUID}))
        ORDER BY timestamp DESC, toUInt128(event_id) DESC
        LIMIT {fetch:UInt64}
    )
  -- Parts without an event of that time are left out.
  AND timestamp >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
  AND timestamp <= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
ORDER BY timestamp DESC, toUInt128(event_id) DESC
LIMIT {fetch:UInt64}
