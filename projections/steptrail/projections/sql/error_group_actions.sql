-- What was decided about a group, the latest first.
SELECT toString(action) AS action, reason, acted_by, acted_at
FROM error_group_actions
WHERE group_id = {group_id:String}
ORDER BY number DESC, action_id DESC
LIMIT 1000
