-- All that was observed of one document's executions, once each, by the time for which it was said; `stands` is a
-- STALLED that holds now.
SELECT
    observed.pipeline                               AS pipeline,
    observed.doc_id                                 AS doc_id,
    observed.step_name                              AS step_name,
    observed.execution_id                           AS execution_id,
    observed.number                                 AS number,
    observed.observation_id                         AS observation_id,
    observed.what                                   AS what,
    observed.status                                 AS status,
    toUnixTimestamp64Micro(observed.started_at)     AS started_us,
    observed.deadline_s                             AS deadline_s,
    toUnixTimestamp64Micro(observed.watermark)      AS watermark_us,
    observed.decided_by                             AS decided_by,
    observed.sentence                               AS sentence,
    observed.evidence                               AS evidence,
    observed.status = 'PENDING'                     AS queued,
    observed.what = 'STALLED'
        AND observed.number = max(observed.number) OVER (PARTITION BY observed.pipeline, observed.execution_id)
        -- What waits may have been queued again since: that is one and the same.
        AND (observed.pipeline, observed.step_name, observed.status, if(observed.status = 'PENDING', toUUID('00000000-0000-0000-0000-000000000000'), observed.execution_id)) IN
        (
            SELECT
                state.pipeline, state.step_name, state.status,
                if(state.status = 'PENDING', toUUID('00000000-0000-0000-0000-000000000000'), state.execution_id)
            FROM step_state AS state
            WHERE ({any_pipeline:Bool} OR state.pipeline = {pipeline:String})
              AND state.doc_id = {doc_id:String}
              AND state.status IN ('PENDING', 'RUNNING')
        )                                           AS stands
FROM
(
    SELECT *
    FROM observations
    WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
      AND doc_id = {doc_id:String}
    ORDER BY broker_time, kafka_offset
    LIMIT 1 BY pipeline, observation_id
) AS observed
ORDER BY watermark_us, number, toUInt128(observation_id)
LIMIT {fetch:UInt64}
