-- Documents with a text in their name, in the order of their names, as far as the time allows.
SELECT pipeline, doc_id
FROM steps
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND positionCaseInsensitiveUTF8(doc_id, {text:String}) > 0
ORDER BY pipeline, doc_id
LIMIT 1 BY pipeline, doc_id
LIMIT {fetch:UInt64}
SETTINGS optimize_use_projections = 0
