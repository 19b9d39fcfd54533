-- Pipelines and steps of which an event is there, or that were declared; the step is empty for a declaration.
SELECT toString(pipeline) AS pipeline, toString(step_name) AS step_name
FROM step_executions
WHERE ({any_pipeline:Bool} OR step_executions.pipeline = {pipeline:String})
GROUP BY pipeline, step_name
UNION DISTINCT
SELECT toString(pipeline) AS pipeline, '' AS step_name
FROM expected_steps_declarations
WHERE ({any_pipeline:Bool} OR expected_steps_declarations.pipeline = {pipeline:String})
GROUP BY pipeline
LIMIT {fetch:UInt64}
