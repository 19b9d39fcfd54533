-- One row if anything was ever observed of a document's executions.
SELECT 1 AS is_observed
FROM observations
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND doc_id = {doc_id:String}
LIMIT 1
