-- How far the steps are projected: for each partition the last offset in every table, and when its last batch was done.
SELECT
    partition,
    max(last_offset) AS reached,
    max(at) AS moved_at
FROM projection_ledger
WHERE projection_name = 'steps'
  AND topic = {topic:String}
  AND topic_id = {topic_id:String}
GROUP BY partition
