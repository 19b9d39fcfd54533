-- The latest verdict of each step.
SELECT toString(pipeline) AS pipeline, toString(step_name) AS step_name, toString(status) AS status, sentence,
    toUnixTimestamp64Milli(since) AS since_ms, toUnixTimestamp64Milli(at) AS at_ms
FROM health_state
WHERE ({any_pipeline:Bool} OR health_state.pipeline = {pipeline:String})
  AND ({any_step:Bool} OR health_state.step_name = {step_name:String})
ORDER BY pipeline, step_name
