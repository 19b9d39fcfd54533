-- Work that is queued in one process and done in another is one run of its step, whatever it is called by.

-- The current state of every step of every document, folded at read time from `steps`.
-- Independent of the order in which events arrived, of duplicates and of merges.
--   event time  least(timestamp, broker_time): a clock that runs ahead wins nothing. What a worker measured before it
--               knew how far its clock is off (then the event's id is of the same millisecond) counts corrected
--   execution   the winner is its event with the greatest (rank, event time, event_id);
--               rank: 0 PENDING, 1 RUNNING, 2 every ending
--   joined      an execution that only ever was PENDING is taken over by the one that did the work. It waits for one
--               to come, and all that do are one, when it is later than every event of those that ran or ended. By
--               less than a second it has to be a retry to wait: after ERROR or FAILED, or of a greater attempt
--   step        the current execution is the one that waits; else the one that ran or ended and has the latest event;
--               equal times: the greater execution_id
-- A condition on pipeline and doc_id reaches the primary key through both GROUP BYs.
-- Every value is wrapped in a tuple, because argMax by itself would skip NULLs.
CREATE OR REPLACE VIEW step_state AS
SELECT
    step.pipeline                                                       AS pipeline,
    step.doc_id                                                         AS doc_id,
    step.step_name                                                      AS step_name,
    step.now.1                                                          AS status,
    arrayMax(step.parts.3)                                              AS attempt,
    step.now.2                                                          AS execution_id,
    if(step.waits OR length(step.parts) > 1 OR step.latest.5, fromUnixTimestamp64Micro(arrayMin(step.parts.1), 'UTC'), NULL) AS queued_at,
    step.now.4                                                          AS started_at,
    fromUnixTimestamp64Micro(step.now.3, 'UTC')                         AS updated_at,
    step.now.5                                                          AS duration_ms,
    step.now.6                                                          AS error_type,
    if(step.waits, step.waiting_error_message, step.run_error_message)  AS error_message,
    if(step.waits, step.waiting_details, step.run_details)              AS details,
    if(step.waits, step.waiting_metrics, step.run_metrics)              AS metrics,
    arrayMax(step.parts.4).3                                            AS depends_on,
    length(step.begun) + step.waits                                     AS executions,
    step.events                                                         AS events
FROM
(
    -- What the current run consists of: itself, and what it took over; or all that waits for the next.
    -- A run takes over what was queued since the run before it began; the one that began last takes the rest, too.
    SELECT
        judged.*,
        if(judged.waits, judged.waiting, judged.run) AS now,
        if(judged.waits, judged.later, arrayPushBack(
            arrayFilter(
                q -> (empty(judged.begun_before) OR q.1 > arrayMax(judged.begun_before).1)
                    AND (q.1 <= judged.latest.3 OR length(judged.begun_before) + 1 = length(judged.begun)),
                judged.queued),
            (judged.latest.3, judged.latest.1, judged.latest.4, judged.latest.7)
        )) AS parts
    FROM
    (
        SELECT
            found.*,
            arrayFilter(r -> r < (found.latest.3, found.latest.2), found.begun)   AS begun_before,
            arrayFilter(q -> empty(found.begun) OR q.2 > found.latest.1, found.queued) AS later,
            empty(found.begun) OR arrayExists(
                q -> q.2 > found.latest.1 AND (found.latest.6 OR q.3 > found.latest.4 OR q.2 > found.latest.1 + 1000000),
                found.queued)                                                     AS waits
        FROM
        (
            WITH
                -- What ran or ended comes before what only waits.
                (execution.rank > 0, execution.last_us, toUInt128(execution.execution_id)) AS as_run,
                (execution.last_us, execution.winner_id)                                   AS as_queued
            SELECT
                execution.pipeline AS pipeline, execution.doc_id AS doc_id, execution.step_name AS step_name,
                maxIf((execution.last_us, toUInt128(execution.execution_id), execution.first_us, execution.attempt,
                    execution.queued, execution.status IN ('ERROR', 'FAILED'), execution.dependencies), execution.rank > 0) AS latest,
                groupArrayIf((execution.first_us, toUInt128(execution.execution_id)), execution.rank > 0) AS begun,
                groupArrayIf((execution.first_us, execution.last_us, execution.attempt, execution.dependencies), execution.rank = 0) AS queued,
                -- Together what is short, each alone what is long: who does not ask for it does not read it.
                argMax((execution.status, execution.execution_id, execution.updated_us, execution.started_at, execution.duration_ms, execution.error_type), as_run) AS run,
                argMax(tuple(execution.error_message), as_run).1 AS run_error_message,
                argMax(execution.details, as_run) AS run_details,
                argMax(execution.metrics, as_run) AS run_metrics,
                argMaxIf((execution.status, execution.execution_id, execution.updated_us, execution.started_at, execution.duration_ms, execution.error_type), as_queued, execution.rank = 0) AS waiting,
                argMaxIf(tuple(execution.error_message), as_queued, execution.rank = 0).1 AS waiting_error_message,
                argMaxIf(execution.details, as_queued, execution.rank = 0) AS waiting_details,
                argMaxIf(execution.metrics, as_queued, execution.rank = 0) AS waiting_metrics,
                sum(execution.events) AS events
            FROM
            (
                WITH
                    (
                        SELECT (groupArray(clock.emitter), groupArray(clock.events), groupArray(clock.offset_us))
                        FROM
                        (
                            SELECT '' AS emitter, toInt64(0) AS events, toInt64(0) AS offset_us
                            UNION ALL
                            SELECT report.emitter_id, max(report.early_events), max(report.early_offset_us)
                            FROM emitter_reports AS report
                            WHERE report.early_offset_us != 0
                            GROUP BY report.emitter_id
                        ) AS clock
                    )                                                                      AS early,
                    toUnixTimestamp64Micro(event.timestamp)                                AS told_us,
                    if(
                        intDiv(told_us, 1000) = toInt64(bitShiftRight(toUInt128(event.event_id), 80))
                            AND event.sequence < transform(event.emitter_id, early.1, early.2, toInt64(0)),
                        transform(event.emitter_id, early.1, early.3, toInt64(0)), 0)      AS behind_us,
                    least(told_us + behind_us, toUnixTimestamp64Milli(event.broker_time) * 1000) AS event_us,
                    multiIf(event.status = 'PENDING', 0, event.status = 'RUNNING', 1, 2)   AS event_rank,
                    (event_rank, event_us, toUInt128(event.event_id))                      AS precedence
                SELECT
                    event.pipeline                                             AS pipeline,
                    event.doc_id                                               AS doc_id,
                    event.step_name                                            AS step_name,
                    event.execution_id                                         AS execution_id,
                    max(precedence)                                            AS winner,
                    winner.1                                                   AS rank,
                    winner.2                                                   AS updated_us,
                    winner.3                                                   AS winner_id,
                    argMax(event.status, precedence)                           AS status,
                    max(event.attempt)                                         AS attempt,
                    countIf(event.status = 'PENDING') > 0                      AS queued,
                    -- An event that was sent twice has two times when its clock runs ahead: the greater counts, as everywhere.
                    maxMap([toUInt128(event.event_id)], [event_us]).2          AS times,
                    maxMapIf([toUInt128(event.event_id)], [event_us], event.status = 'RUNNING').2 AS running,
                    if(empty(running), NULL, fromUnixTimestamp64Micro(arrayMin(running), 'UTC')) AS started_at,
                    arrayMin(times)                                            AS first_us,
                    max(event_us)                                              AS last_us,
                    argMax(tuple(event.duration_ms), precedence).1             AS duration_ms,
                    argMax(tuple(event.error_type), precedence).1              AS error_type,
                    argMax(tuple(event.error_message), precedence).1           AS error_message,
                    argMax(event.details, precedence)                          AS details,
                    argMax(event.metrics, precedence)                          AS metrics,
                    max((event.depends_on != '[]', precedence, event.depends_on)) AS dependencies,
                    length(times)                                              AS events
                FROM steps AS event
                GROUP BY event.pipeline, event.doc_id, event.step_name, event.execution_id
            ) AS execution
            GROUP BY execution.pipeline, execution.doc_id, execution.step_name
        ) AS found
    ) AS judged
) AS step;

-- What was said to be stalled, and what became of each since: `status` is the execution's now, `stands` says whether it
-- is still open and its step's current one. An ending, a later execution, or a retry that waits takes a stall back here
-- before anybody says so.
CREATE OR REPLACE VIEW stall_state AS
SELECT
    said.pipeline       AS pipeline,
    said.doc_id         AS doc_id,
    said.step_name      AS step_name,
    said.execution_id   AS execution_id,
    said.number         AS number,
    said.observation_id AS observation_id,
    said.started_at     AS started_at,
    said.deadline_s     AS deadline_s,
    said.stalled_since  AS stalled_since,
    said.decided_by     AS decided_by,
    said.sentence       AS sentence,
    said.evidence       AS evidence,
    now.status          AS status,
    now.is_open         AS stands
FROM stalls_said AS said
LEFT JOIN
(
    SELECT
        execution.pipeline AS pipeline, execution.doc_id AS doc_id, execution.step_name AS step_name,
        execution.execution_id AS execution_id, execution.winner.4 AS status,
        execution.winner.1 = 1
            AND (execution.last_any, toUInt128(execution.execution_id))
                = maxIf((execution.last_any, toUInt128(execution.execution_id)), execution.winner.1 > 0) OVER of_step
            -- Nothing waits that was queued later: see step_state.
            AND NOT arrayExists(
                q -> q.1 > execution.last_any AND (q.2 > execution.attempt OR q.1 > execution.last_any + toIntervalSecond(1)),
                groupArrayIf((execution.last_any, execution.attempt), execution.winner.1 = 0) OVER of_step
            ) AS is_open
    FROM step_executions AS execution FINAL
    WHERE (execution.pipeline, execution.step_name, execution.doc_id)
        IN (SELECT stalls_said.pipeline, stalls_said.step_name, stalls_said.doc_id FROM stalls_said)
    WINDOW of_step AS (PARTITION BY execution.pipeline, execution.step_name, execution.doc_id)
) AS now
ON now.pipeline = said.pipeline AND now.doc_id = said.doc_id
    AND now.step_name = said.step_name AND now.execution_id = said.execution_id;
