-- How far one document is in each pipeline that declared its steps.
SELECT
    -- include: completeness_columns
FROM document_completeness
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND doc_id = {doc_id:String}
ORDER BY pipeline
SETTINGS optimize_use_projections = 0  -- the primary key it is; weighing the others takes a third of the time
