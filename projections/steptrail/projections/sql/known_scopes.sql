-- The pipelines and steps of which an event is there, or that were declared.
SELECT pipeline, step_name
FROM (
    SELECT pipeline, step_name FROM steps GROUP BY pipeline, step_name
    UNION DISTINCT
    SELECT pipeline, arrayJoin(steps) AS step_name FROM expected_steps_declarations GROUP BY pipeline, step_name
)
LIMIT {fetch:UInt64}
