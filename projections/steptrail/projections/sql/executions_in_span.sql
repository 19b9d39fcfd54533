-- How many rows of executions, merged or not, began within a span.
SELECT count() AS executions
FROM step_executions
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND first_any >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
  AND first_any < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
SETTINGS optimize_use_projections = 0
