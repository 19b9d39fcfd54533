-- What is queued and that nobody takes is observed like what was started and does not end: STALLED, with the status
-- PENDING. It is taken back when its work begins, under whichever execution.

-- Each execution whose last observation is STALLED, as that says it; of two copies the first counts. `queued` says that
-- it was PENDING then. What became of the execution since is not looked at: stall_state does.
CREATE OR REPLACE VIEW stalls_said AS
WITH (said.number, -toUnixTimestamp64Milli(said.broker_time), -said.kafka_offset) AS recency
SELECT
    said.pipeline                                   AS pipeline,
    said.doc_id                                     AS doc_id,
    said.step_name                                  AS step_name,
    said.execution_id                               AS execution_id,
    max(said.number)                                AS number,
    argMax(said.observation_id, recency)            AS observation_id,
    argMax(said.started_at, recency)                AS started_at,
    argMax(tuple(said.deadline_s), recency).1       AS deadline_s,
    argMax(said.watermark, recency)                 AS stalled_since,
    argMax(toString(said.decided_by), recency)      AS decided_by,
    argMax(said.sentence, recency)                  AS sentence,
    argMax(said.evidence, recency)                  AS evidence,
    argMax(said.status, recency) = 'PENDING'        AS queued
FROM observations AS said
GROUP BY said.pipeline, said.doc_id, said.step_name, said.execution_id
HAVING argMax(said.what, recency) = 'STALLED';

-- The same, and what became of each since: `status` is the execution's now, `stands` says whether it is still so: of one
-- that runs, that it is open and its step's current one; of one that is queued, that nothing of its step began or ended
-- after it. An ending, a later execution, or a retry that waits takes a stall back here before anybody says so.
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
    if(said.queued, now.waits, now.is_open) AS stands,
    said.queued         AS queued
FROM stalls_said AS said
LEFT JOIN
(
    SELECT
        execution.pipeline AS pipeline, execution.doc_id AS doc_id, execution.step_name AS step_name,
        execution.execution_id AS execution_id, execution.winner.4 AS status,
        -- Of those that ran or ended the latest: when, which, which attempt, whether a retry may follow at once.
        maxIf((execution.last_any, toUInt128(execution.execution_id), execution.attempt, execution.winner.4 IN ('ERROR', 'FAILED')),
            execution.winner.1 > 0) OVER of_step                        AS latest,
        countIf(execution.winner.1 > 0) OVER of_step                    AS runs,
        execution.winner.1 = 1
            AND (execution.last_any, toUInt128(execution.execution_id)) = (latest.1, latest.2)
            -- Nothing waits that was queued later: see step_state.
            AND NOT arrayExists(
                q -> q.1 > execution.last_any AND (q.2 > execution.attempt OR q.1 > execution.last_any + toIntervalSecond(1)),
                groupArrayIf((execution.last_any, execution.attempt), execution.winner.1 = 0) OVER of_step
            )                                                           AS is_open,
        execution.winner.1 = 0
            AND (runs = 0 OR (execution.last_any > latest.1
                AND (latest.4 OR execution.attempt > latest.3 OR execution.last_any > latest.1 + toIntervalSecond(1)))) AS waits
    FROM step_executions AS execution FINAL
    WHERE (execution.pipeline, execution.step_name, execution.doc_id)
        IN (SELECT stalls_said.pipeline, stalls_said.step_name, stalls_said.doc_id FROM stalls_said)
    WINDOW of_step AS (PARTITION BY execution.pipeline, execution.step_name, execution.doc_id)
) AS now
ON now.pipeline = said.pipeline AND now.doc_id = said.doc_id
    AND now.step_name = said.step_name AND now.execution_id = said.execution_id;

-- What is stalled now, `queued` that nobody has begun it.
CREATE OR REPLACE VIEW stalls AS
SELECT
    pipeline, doc_id, step_name, execution_id, started_at, deadline_s, stalled_since, decided_by, sentence, evidence,
    number, observation_id, queued
FROM stall_state
WHERE stands;
