-- Which execution is the current one of each step of some documents, as step_state decides it where that has ended
-- badly; `last_event` is the event that decides. Documents are given, and others may be there, as in documents_events.
SELECT
    toString(execution.pipeline) AS pipeline, toString(execution.step_name) AS step_name, execution.doc_id AS doc_id,
    maxIf(
        ((execution.latest_any, toUInt128(execution.execution_id)), execution.winner.3, execution.attempt),
        execution.winner.1 > 0)                                                     AS latest,
    latest.2                                                                        AS last_event,
    latest.3                                                                        AS attempt,
    countIf(execution.winner.1 > 0)                                                 AS executions,
    maxIf(execution.latest_any, execution.winner.1 = 0) > latest.1.1                AS waits,
    maxIf(execution.winner.2, execution.winner.1 = 2 AND execution.winner.4 NOT IN ('ERROR', 'FAILED')) AS well_last,
    toUnixTimestamp64Micro(arrayMin(arrayFilter(
        at -> at > well_last,
        groupArrayIf(1000)(execution.winner.2, execution.winner.4 IN ('ERROR', 'FAILED')))))  AS since_us
FROM
(
    SELECT
        event.pipeline AS pipeline, event.step_name AS step_name, event.doc_id AS doc_id,
        event.execution_id AS execution_id,
        max((
            multiIf(event.status = 'PENDING', 0, event.status = 'RUNNING', 1, 2),
            least(event.timestamp, toDateTime64(event.broker_time, 6, 'UTC')),
            toUInt128(event.event_id),
            event.status))                                                          AS winner,
        max(least(event.timestamp, toDateTime64(event.broker_time, 6, 'UTC')))      AS latest_any,
        max(event.attempt)                                                          AS attempt
    FROM steps AS event
    WHERE event.pipeline IN {pipelines:Array(String)} AND event.doc_id IN {docs:Array(String)}
      AND ({few_pipelines:Bool} OR (event.pipeline, event.doc_id) IN
          (
              SELECT document.1, document.2
              FROM (SELECT arrayJoin(arrayZip({pipelines:Array(String)}, {docs:Array(String)})) AS document)
          ))
    GROUP BY event.pipeline, event.step_name, event.doc_id, event.execution_id
) AS execution
GROUP BY execution.pipeline, execution.step_name, execution.doc_id
SETTINGS optimize_use_projections = 0  -- the primary key it is
