-- The groups that had most errors lately, as they are now; `matched` and `matched_lately` count those left out too.
-- Only so many groups are looked at (`most`), the ones with most errors lately: that bounds the memory.
WITH lately AS
(
    SELECT group_id, sum(count) AS errors
    FROM error_group_hours FINAL
    WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
      AND ({any_step:Bool} OR step_name = {step_name:String})
      AND hour >= toStartOfHour(fromUnixTimestamp64Micro({since_us:Int64}, 'UTC'))
    GROUP BY group_id
    ORDER BY errors DESC, group_id
    LIMIT {most:UInt64}
)
SELECT
    -- include: error_group_columns
    , lately.errors AS lately,
    count() OVER () AS matched,
    sum(lately.errors) OVER () AS matched_lately
FROM error_groups AS known
INNER JOIN lately ON lately.group_id = known.group_id
WHERE known.group_id IN (SELECT group_id FROM lately) AND known.state IN {states:Array(String)}
ORDER BY lately DESC, group_id
LIMIT {fetch:UInt64}
