-- About how many events export_events gives: one that a worker sent twice may count twice.
SELECT count() AS events
FROM steps
WHERE ({any_pipeline:Bool} OR steps.pipeline = {pipeline:String})
  AND ({any_step:Bool} OR steps.step_name = {step_name:String})
  AND steps.status IN {statuses:Array(String)}
  AND steps.timestamp >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
  AND steps.timestamp < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
