-- How many groups had errors lately beyond the `most` that are looked at, and how many errors.
SELECT count() AS beyond, sum(errors) AS beyond_lately
FROM
(
    SELECT group_id, sum(count) AS errors
    FROM error_group_hours FINAL
    WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
      AND ({any_step:Bool} OR step_name = {step_name:String})
      AND hour >= toStartOfHour(fromUnixTimestamp64Micro({since_us:Int64}, 'UTC'))
    GROUP BY group_id
    ORDER BY errors DESC, group_id
    LIMIT 1000000000000 OFFSET {most:UInt64}
)
