-- How many steps of documents are failing now, by step.
SELECT
    failing.pipeline                                     AS pipeline,
    failing.step_name                                    AS step_name,
    count()                                              AS documents,
    countIf(failing.latest.3 = 'ERROR')                  AS can_be_retried,
    toUnixTimestamp64Micro(min(failing.failing_since))   AS since_us,
    toUnixTimestamp64Micro(max(failing.latest.4))        AS last_us
FROM
(
-- include: failing_steps
) AS failing
GROUP BY failing.pipeline, failing.step_name
ORDER BY documents DESC, pipeline, step_name
LIMIT {fetch:UInt64}
SETTINGS optimize_use_projections = 0, max_bytes_before_external_group_by = 150000000
