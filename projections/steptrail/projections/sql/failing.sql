-- What is failing now, the latest failure first, from a position on.
SELECT
    failing.pipeline                                AS pipeline,
    failing.step_name                               AS step_name,
    failing.doc_id                                  AS doc_id,
    failing.latest.2                                AS execution_id,
    failing.latest.3                                AS status,
    toUnixTimestamp64Micro(failing.latest.4)        AS failed_us,
    toUnixTimestamp64Micro(failing.failing_since)   AS since_us,
    failing.latest.5                                AS attempt,
    failing.executions                              AS executions
FROM
(
-- include: failing_steps
) AS failing
WHERE failed_us < {from_us:Int64} OR (failed_us = {from_us:Int64} AND toUInt128(execution_id) < toUInt128({from_id:UUID}))
ORDER BY failed_us DESC, toUInt128(execution_id) DESC
LIMIT {fetch:UInt64}
SETTINGS optimize_use_projections = 0, max_bytes_before_external_group_by = 150000000
