-- The last of the next so many documents of pipelines that declared their steps; no row: fewer are left.
-- Read in the order of the primary key, and no further than to the document that is wanted.
SELECT
    pipeline,
    doc_id
FROM steps
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND pipeline IN (SELECT expected_steps.pipeline FROM expected_steps)
  AND ({from_start:Bool} OR (pipeline >= {from_pipeline:String} AND (pipeline > {from_pipeline:String} OR doc_id > {from_doc:String})))
ORDER BY pipeline, doc_id
LIMIT 1 BY pipeline, doc_id
LIMIT 1 OFFSET {skip:UInt64}
SETTINGS optimize_use_projections = 0
