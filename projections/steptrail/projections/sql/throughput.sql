-- How steps fared over time, from the minutes that the health consumer counts. `by_step`: each step alone; `total`:
-- not by time.
SELECT
    if({total:Bool}, toInt64({start_s:Int64}), toInt64(toUnixTimestamp(toStartOfInterval(counted.minute, toIntervalSecond({bucket_s:UInt32})))))  AS begins,
    if({by_step:Bool}, toString(counted.pipeline), '')      AS pipeline_name,
    if({by_step:Bool}, toString(counted.step_name), '')     AS step,
    sum(counted.events)                                     AS events,
    sum(counted.pending)                                    AS pending,
    sum(counted.running)                                    AS running,
    sum(counted.success)                                    AS success,
    sum(counted.warning)                                    AS warning,
    sum(counted.error)                                      AS error,
    sum(counted.failed)                                     AS failed,
    sum(counted.skipped)                                    AS skipped,
    sum(counted.timed)                                      AS timed,
    max(counted.duration_max)                               AS max_ms,
    toInt64(toUnixTimestamp(max(counted.minute)))           AS last_minute,
    arrayMap(q -> if(timed = 0, NULL, q), quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(counted.durations)) AS quantiles
FROM step_minute_rows AS counted FINAL
WHERE ({any_pipeline:Bool} OR counted.pipeline = {pipeline:String})
  AND ({any_step:Bool} OR counted.step_name = {step_name:String})
  AND counted.minute >= toDateTime({start_s:Int64}, 'UTC') AND counted.minute < toDateTime({end_s:Int64}, 'UTC')
GROUP BY begins, pipeline_name, step
ORDER BY begins, pipeline_name, step
LIMIT {fetch:UInt64}
