-- Errors by hour of some groups.
SELECT group_id, toUnixTimestamp(hour) AS begins, count
FROM error_group_hours FINAL
WHERE group_id IN {ids:Array(String)} AND hour >= toStartOfHour(fromUnixTimestamp64Micro({since_us:Int64}, 'UTC'))
ORDER BY group_id, hour
