-- Error groups with a text in their template or error type, those seen last first.
SELECT group_id, any(toString(pipeline)) AS pipeline_name, any(toString(step_name)) AS step, any(toString(error_type)) AS type,
    any(template) AS message, toInt64(toUnixTimestamp64Milli(max(last_seen))) AS last_ms
FROM error_group_hours
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND (positionCaseInsensitiveUTF8(template, {text:String}) > 0 OR positionCaseInsensitiveUTF8(error_type, {text:String}) > 0
    OR startsWith(group_id, lower({text:String})))
GROUP BY group_id
ORDER BY last_ms DESC, group_id
LIMIT {fetch:UInt64}
