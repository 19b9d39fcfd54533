-- The documents of a span (pipeline, doc_id) that are in one of these states and of which nothing was heard lately.
SELECT
    -- include: completeness_columns
FROM document_completeness
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND ({from_start:Bool} OR (pipeline >= {from_pipeline:String} AND (pipeline > {from_pipeline:String} OR doc_id > {from_doc:String})))
  AND ({to_end:Bool} OR (pipeline <= {to_pipeline:String} AND (pipeline < {to_pipeline:String} OR doc_id <= {to_doc:String})))
  AND state IN {states:Array(String)}
  AND updated_at < fromUnixTimestamp64Micro({quiet_us:Int64}, 'UTC')
ORDER BY pipeline, doc_id
LIMIT {fetch:UInt64}
SETTINGS optimize_use_projections = 0
