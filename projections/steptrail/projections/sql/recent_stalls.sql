-- Executions that are stalled now and were found so since a time, the latest found first.
SELECT
    -- include: stall_columns
FROM stall_state
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND stands
  AND stalled_since >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
ORDER BY stalled_since DESC, toUInt128(execution_id) DESC
LIMIT {fetch:UInt64}
