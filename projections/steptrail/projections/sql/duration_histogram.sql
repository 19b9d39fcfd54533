-- How many executions of one step took how long: each class is four thirds (2^(5/12)) as long as the one before.
SELECT toInt32(floor(log2(greatest(duration_ms, 0.001)) * 2.4)) AS class, uniqExact(event_id) AS executions
FROM steps
WHERE pipeline = {pipeline:String}
  AND step_name = {step_name:String}
  AND status IN ('SUCCESS', 'WARNING', 'ERROR', 'FAILED')
  AND timestamp >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
  AND timestamp < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
  AND duration_ms >= 0
GROUP BY class
ORDER BY class
LIMIT 200
