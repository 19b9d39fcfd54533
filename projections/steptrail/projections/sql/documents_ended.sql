-- Which of some documents have an event in one of these statuses, which are endings. Reads two narrow columns beside the
-- ids. Of so many documents the index of ids would cost more than the granules that it leaves out.
SELECT DISTINCT pipeline, doc_id
FROM steps
WHERE (pipeline, doc_id) IN
    (
        -- documents
    )
  AND status IN {statuses:Array(String)}
SETTINGS optimize_use_projections = 0, use_skip_indexes = 0
