-- The last ERROR or FAILED event of each of some executions; documents come as arrays of one length.
SELECT
    event.execution_id                                                  AS execution_id,
    argMax(event.event_id, recency)                                     AS event_id,
    toUnixTimestamp64Micro(max(event.timestamp))                        AS timestamp_us,
    argMax(tuple(event.error_type), recency).1                          AS error_type,
    argMax(tuple(substringUTF8(event.error_message, 1, {most:UInt32})), recency).1 AS error_message,
    argMax(toString(event.worker), recency)                             AS worker,
    argMax(tuple(event.trace_id), recency).1                            AS trace_id,
    argMax(tuple(event.duration_ms), recency).1                         AS duration_ms
FROM
(
    SELECT *, (timestamp, toUInt128(event_id)) AS recency
    FROM steps
    WHERE (pipeline, doc_id) IN
        (
            SELECT document.1, document.2
            FROM (SELECT arrayJoin(arrayZip({pipelines:Array(String)}, {docs:Array(String)})) AS document)
        )
      AND execution_id IN {executions:Array(UUID)}
      AND status IN ('ERROR', 'FAILED')
) AS event
GROUP BY event.execution_id
SETTINGS optimize_use_projections = 0  -- the primary key it is
