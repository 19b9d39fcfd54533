-- The steps of one pipeline, or of all, of which an event is there.
SELECT step_name
FROM steps
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
GROUP BY step_name
ORDER BY step_name
LIMIT {fetch:UInt64}
