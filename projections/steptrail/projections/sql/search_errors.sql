-- The latest events of a span with a text in their error's message or type, and how many there are.
SELECT
    pipeline, doc_id, step_name, status, toUnixTimestamp64Micro(timestamp) AS timestamp_us, event_id, error_type,
    substringUTF8(error_message, 1, {most:UInt32}) AS error_message, worker, count() OVER () AS matched
FROM steps
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND status IN ('WARNING', 'ERROR', 'FAILED')
  AND timestamp >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
  AND (positionCaseInsensitiveUTF8(ifNull(error_message, ''), {text:String}) > 0
    OR positionCaseInsensitiveUTF8(ifNull(error_type, ''), {text:String}) > 0)
ORDER BY timestamp DESC, toUInt128(event_id) DESC
LIMIT {fetch:UInt64}
