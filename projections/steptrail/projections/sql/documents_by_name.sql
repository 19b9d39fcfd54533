-- Documents in the order of their names, after a position; read in the order of the primary key, and no further.
SELECT pipeline, doc_id
FROM steps
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND startsWith(doc_id, {prefix:String})
  AND ({from_start:Bool} OR (pipeline >= {from_pipeline:String} AND (pipeline > {from_pipeline:String} OR doc_id > {from_doc:String})))
ORDER BY pipeline, doc_id
LIMIT 1 BY pipeline, doc_id
LIMIT {fetch:UInt64}
SETTINGS optimize_use_projections = 0
