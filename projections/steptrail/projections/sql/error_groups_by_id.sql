-- The groups whose id begins so, two at most: the second says that the first is not the only one.
SELECT
    -- include: error_group_columns
FROM error_groups AS known
WHERE known.group_id IN
(
    SELECT DISTINCT group_id FROM error_group_hours
    WHERE startsWith(group_id, {prefix:String}) ORDER BY group_id LIMIT 2
)
ORDER BY group_id
