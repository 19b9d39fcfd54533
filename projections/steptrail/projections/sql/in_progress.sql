-- What runs or waits now, that which began first in front, from a position on; `stalled_us` says since when it is known
-- to be stuck, of what waits that nobody takes it.
SELECT
    work.pipeline AS pipeline, work.step_name AS step_name, work.doc_id AS doc_id, work.execution_id AS execution_id,
    work.status AS status, work.since_us AS since_us, work.attempt AS attempt, work.executions AS executions,
    said.stalled_us AS stalled_us, said.deadline_s AS deadline_s, said.sentence AS sentence
FROM
(
-- include: open_steps
) AS work
LEFT JOIN
(
    SELECT
        pipeline, step_name, doc_id,
        -- What waits may have been queued again since: that is one and the same.
        if(queued, toUUID('00000000-0000-0000-0000-000000000000'), execution_id) AS of_execution,
        toNullable(toUnixTimestamp64Micro(max(stalled_since))) AS stalled_us,
        any(deadline_s) AS deadline_s, argMax(sentence, stalled_since) AS sentence
    FROM stalls_said
    WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
    GROUP BY pipeline, step_name, doc_id, of_execution
) AS said
ON said.pipeline = work.pipeline AND said.step_name = work.step_name AND said.doc_id = work.doc_id
    AND said.of_execution = if(work.status = 'PENDING', toUUID('00000000-0000-0000-0000-000000000000'), work.execution_id)
WHERE (work.since_us > {from_us:Int64} OR (work.since_us = {from_us:Int64} AND toUInt128(work.execution_id) > toUInt128({from_id:UUID})))
  AND work.status IN {statuses:Array(String)}
  AND (NOT {only_stalled:Bool} OR isNotNull(said.stalled_us))
ORDER BY since_us, toUInt128(execution_id)
LIMIT {fetch:UInt64}
SETTINGS optimize_use_projections = 0, max_bytes_before_external_group_by = 500000000
