-- What may be stuck, with its state in words: what was found to be stalled, and what has been open for more than ten
-- minutes, the least deadline that is ever learned, although nobody has said so. Steps that may be open are found in
-- step_executions, which is small; what their state is now is folded for those documents alone.
CREATE OR REPLACE VIEW stuck_work
(
    state        String                 COMMENT 'STALLED: started, past its deadline. NOT PICKED UP: queued, past its deadline. LONG RUNNING, LONG QUEUED: for more than ten minutes, and not past a deadline that is known',
    says         String                 COMMENT 'The same as a sentence, with the evidence where there is some',
    pipeline     LowCardinality(String) COMMENT 'Tenant or pipeline name',
    doc_id       String                 COMMENT 'Document that waits',
    step_name    LowCardinality(String) COMMENT 'Step that was started or queued',
    since        DateTime64(6, 'UTC')   COMMENT 'When it was started, or, where nobody has, queued',
    seconds      Float64                COMMENT 'Seconds from since to now',
    deadline_s   Nullable(Float64)      COMMENT 'Seconds after since at which it should have ended or begun; NULL where no stall was found',
    stalled_at   Nullable(DateTime64(6, 'UTC')) COMMENT 'The time for which the stall was found, by the broker''s clock; NULL where none was',
    status       Enum8('PENDING' = 0, 'RUNNING' = 1, 'SUCCESS' = 2, 'WARNING' = 3, 'ERROR' = 4, 'FAILED' = 5, 'SKIPPED' = 6) COMMENT 'RUNNING, or PENDING where nobody has begun it',
    attempt      UInt32                 COMMENT 'Which attempt it is, from 1',
    execution_id UUID                   COMMENT 'The execution that is open'
)
AS
SELECT
    multiIf(
        found AND open.status = 'PENDING', 'NOT PICKED UP',
        found, 'STALLED',
        open.status = 'PENDING', 'LONG QUEUED', 'LONG RUNNING')          AS state,
    if(found, stalled.sentence, concat(
        if(open.status = 'PENDING', 'queued ', 'started '), formatReadableTimeDelta(intDiv(seconds, 60) * 60),
        if(open.status = 'PENDING', ' ago and not begun', ' ago and not ended'), ', no deadline passed')) AS says,
    open.pipeline                                                        AS pipeline,
    open.doc_id                                                          AS doc_id,
    open.step_name                                                       AS step_name,
    ifNull(if(open.status = 'PENDING', open.queued_at, open.started_at), open.updated_at) AS since,
    greatest(0, dateDiff('millisecond', since, now64(6, 'UTC')) / 1000)  AS seconds,
    if(found, stalled.deadline_s, NULL)                                  AS deadline_s,
    if(found, toNullable(stalled.stalled_since), NULL)                   AS stalled_at,
    open.status                                                          AS status,
    open.attempt                                                         AS attempt,
    open.execution_id                                                    AS execution_id
FROM
(
    SELECT pipeline, doc_id, step_name, status, attempt, execution_id, queued_at, started_at, updated_at
    FROM step_state
    WHERE (pipeline, doc_id) IN (SELECT part.pipeline, part.doc_id FROM step_executions AS part WHERE part.winner.1 < 2)
      AND status IN ('PENDING', 'RUNNING')
) AS open
LEFT JOIN
(
    SELECT pipeline, doc_id, step_name, sentence, deadline_s, stalled_since, 1 AS found
    FROM stalls
) AS stalled
ON stalled.pipeline = open.pipeline AND stalled.doc_id = open.doc_id AND stalled.step_name = open.step_name
WHERE found OR seconds > 600;
