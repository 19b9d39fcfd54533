-- How far a projection has come in one topic: the last offset of each partition that is in every table.
SELECT
    partition,
    max(last_offset) AS last_offset
FROM projection_ledger
WHERE projection_name = {projection:String}
  AND topic = {topic:String}
  AND topic_id = {topic_id:String}
GROUP BY partition
ORDER BY partition
