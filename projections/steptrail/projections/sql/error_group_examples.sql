-- The latest events of a group, of each hour its last ones, each with another message than the others of its hour.
SELECT example.1 AS at, toString(example.2) AS event_id, example.3 AS doc_id, example.4 AS message
FROM
(
    SELECT arrayJoin(examples) AS example
    FROM
    (
        SELECT examples FROM error_group_hours FINAL
        WHERE group_id = {group_id:String} ORDER BY hour DESC LIMIT {fetch:UInt64}
    )
)
ORDER BY at DESC, event_id DESC
LIMIT {fetch:UInt64}
