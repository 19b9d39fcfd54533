-- The current state of every step of every document.

-- The current state of every step of every document, folded at read time from `steps`.
-- Independent of the order in which events arrived, of duplicates and of merges.
--   event time  least(timestamp, broker_time): a clock that runs ahead wins nothing
--   execution   the winner is its event with the greatest (rank, event time, event_id);
--               rank: 0 PENDING, 1 RUNNING, 2 every ending
--   step        the current execution is the one with the latest event; equal times: the greater execution_id
-- A condition on pipeline and doc_id reaches the primary key through both GROUP BYs.
-- Every value is wrapped in a tuple, because argMax by itself would skip NULLs.
CREATE VIEW IF NOT EXISTS step_state AS
WITH (execution.last_any, toUInt128(execution.execution_id)) AS recency
SELECT
    execution.pipeline                                 AS pipeline,
    execution.doc_id                                   AS doc_id,
    execution.step_name                                AS step_name,
    argMax(execution.status, recency)                  AS status,
    argMax(execution.attempt, recency)                 AS attempt,
    argMax(execution.execution_id, recency)            AS execution_id,
    argMax(tuple(execution.started_at), recency).1     AS started_at,
    argMax(execution.updated_at, recency)              AS updated_at,
    argMax(tuple(execution.duration_ms), recency).1    AS duration_ms,
    argMax(tuple(execution.error_type), recency).1     AS error_type,
    argMax(tuple(execution.error_message), recency).1  AS error_message,
    argMax(execution.details, recency)                 AS details,
    argMax(execution.metrics, recency)                 AS metrics,
    argMax(execution.depends_on, recency)              AS depends_on,
    count()                                            AS executions,
    sum(execution.events)                              AS events
FROM
(
    WITH
        least(event.timestamp, toDateTime64(event.broker_time, 6, 'UTC'))      AS event_time,
        multiIf(event.status = 'PENDING', 0, event.status = 'RUNNING', 1, 2)   AS rank,
        (rank, event_time, toUInt128(event.event_id))                          AS precedence
    SELECT
        event.pipeline                                             AS pipeline,
        event.doc_id                                               AS doc_id,
        event.step_name                                            AS step_name,
        event.execution_id                                         AS execution_id,
        argMax(event.status, precedence)                           AS status,
        max(event.attempt)                                         AS attempt,
        -- An event that was sent twice has two times when its clock runs ahead: the greater counts, as everywhere.
        maxMapIf([toUInt128(event.event_id)], [event_time], event.status = 'RUNNING').2 AS runs,
        if(empty(runs), NULL, arrayMin(runs))                      AS started_at,
        argMax(event_time, precedence)                             AS updated_at,
        max(event_time)                                            AS last_any,
        argMax(tuple(event.duration_ms), precedence).1             AS duration_ms,
        argMax(tuple(event.error_type), precedence).1              AS error_type,
        argMax(tuple(event.error_message), precedence).1           AS error_message,
        argMax(event.details, precedence)                          AS details,
        argMax(event.metrics, precedence)                          AS metrics,
        argMax(event.depends_on, (event.depends_on != '[]', precedence)) AS depends_on,
        uniqExact(event.event_id)                                  AS events
    FROM steps AS event
    GROUP BY event.pipeline, event.doc_id, event.step_name, event.execution_id
) AS execution
GROUP BY execution.pipeline, execution.doc_id, execution.step_name
