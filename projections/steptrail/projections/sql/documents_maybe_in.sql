-- Which of some documents may be in one of these statuses now: a step's status is that of an event of the highest rank (0
-- PENDING, 1 RUNNING, 2 every ending) of one of its executions. Reads few and narrow columns, so that the fold of everything is
-- left for few documents. Of so many documents the index of ids would cost more than the granules that it leaves out.
SELECT DISTINCT execution.pipeline AS pipeline, execution.doc_id AS doc_id
FROM
(
    SELECT pipeline, doc_id,
        max((multiIf(status = 'PENDING', 0, status = 'RUNNING', 1, 2), status IN {statuses:Array(String)})) AS highest
    FROM steps
    WHERE (pipeline, doc_id) IN
        (
            -- documents
        )
    GROUP BY pipeline, doc_id, execution_id
) AS execution
WHERE execution.highest.2
SETTINGS optimize_use_projections = 0, use_skip_indexes = 0
