-- Documents with an event in a span that may be in one of these statuses now: a step's status is that of an event of the
-- highest rank (0 PENDING, 1 RUNNING, 2 every ending) of one of its executions. Reads few and narrow columns, so that
-- the fold of everything is left for few documents.
SELECT execution.pipeline AS pipeline, execution.doc_id AS doc_id
FROM
(
    SELECT pipeline, doc_id, execution_id,
        groupUniqArray((multiIf(status = 'PENDING', 0, status = 'RUNNING', 1, 2), toString(status))) AS heard
    FROM steps
    WHERE (pipeline, doc_id) IN
        (
            SELECT event.pipeline, event.doc_id
            FROM steps AS event
            WHERE ({any_pipeline:Bool} OR event.pipeline = {pipeline:String})
              AND ({prefix:String} = '' OR startsWith(event.doc_id, {prefix:String}))
              AND event.timestamp >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
              AND event.timestamp < fromUnixTimestamp64Micro({end_us:Int64}, 'UTC')
        )
    GROUP BY pipeline, doc_id, execution_id
) AS execution
GROUP BY execution.pipeline, execution.doc_id
HAVING max(arrayExists(
    h -> has({statuses:Array(String)}, h.2) AND h.1 = arrayMax(each -> each.1, execution.heard), execution.heard))
LIMIT {fetch:UInt64}
