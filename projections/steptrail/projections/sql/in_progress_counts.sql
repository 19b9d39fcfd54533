-- How many steps of documents run and wait now, by step, and since when the first of them does.
SELECT
    work.pipeline                                   AS pipeline,
    work.step_name                                  AS step_name,
    countIf(work.status = 'RUNNING')                AS running,
    countIf(work.status = 'PENDING')                AS queued,
    minIf(work.since_us, work.status = 'RUNNING')   AS running_us,
    minIf(work.since_us, work.status = 'PENDING')   AS queued_us
FROM
(
-- include: open_steps
) AS work
GROUP BY work.pipeline, work.step_name
ORDER BY pipeline, step_name
LIMIT {fetch:UInt64}
SETTINGS optimize_use_projections = 0, max_bytes_before_external_group_by = 500000000
