-- Which documents events before a position are of, the latest event first.
SELECT pipeline, doc_id, toUnixTimestamp64Micro(timestamp) AS timestamp_us, event_id
FROM steps
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND ({prefix:String} = '' OR startsWith(doc_id, {prefix:String}))
  AND timestamp >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
  AND timestamp <= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')
  AND (timestamp < fromUnixTimestamp64Micro({from_us:Int64}, 'UTC') OR toUInt128(event_id) < toUInt128({from_id:UUID}))
ORDER BY timestamp DESC, toUInt128(event_id) DESC
LIMIT {fetch:UInt64}
