-- When the broker took the first event that says that each of some executions runs, or is queued ({status}), and how
-- often each was observed.
-- An event that was sent twice has two broker times: the greater counts, as in the fold, merged or not.
SELECT
    run.execution_id                                        AS execution_id,
    min(run.broker_ms)                                      AS started_ms,
    any(ifNull(said.number, 0))                             AS number
FROM
(
    SELECT
        event.execution_id                                          AS execution_id,
        event.event_id                                              AS event_id,
        max(toInt64(toUnixTimestamp64Milli(event.broker_time)))     AS broker_ms
    FROM steps AS event
    WHERE (event.pipeline, event.doc_id) IN
        (
            SELECT document.1, document.2
            FROM (SELECT arrayJoin(arrayZip({pipelines:Array(String)}, {docs:Array(String)})) AS document)
        )
      AND event.execution_id IN {executions:Array(UUID)}
      AND event.status = {status:String}
    GROUP BY event.execution_id, event.event_id
) AS run
LEFT JOIN
(
    SELECT observed.execution_id AS execution_id, max(observed.number) AS number
    FROM observations AS observed
    WHERE (observed.pipeline, observed.doc_id) IN
        (
            SELECT document.1, document.2
            FROM (SELECT arrayJoin(arrayZip({pipelines:Array(String)}, {docs:Array(String)})) AS document)
        )
      AND observed.execution_id IN {executions:Array(UUID)}
    GROUP BY observed.execution_id
) AS said ON said.execution_id = run.execution_id
GROUP BY run.execution_id
SETTINGS optimize_use_projections = 0  -- the primary key it is
