-- How far a projection has come in one topic: the last offset of each partition that is in every table.
SELECT
    partition,
    max(last_offset) AS reached
FROM projection_ledger
WHERE projection_name = {projection:String}
  AND topic = {topic:String}
  AND topic_id = {topic_id:String}
  AND last_offset >= {at_least:Int64}
GROUP BY partition
ORDER BY partition
