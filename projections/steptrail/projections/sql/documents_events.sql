-- Events of some documents in few and narrow columns, each with the time that decides in the fold; no more of a document than
-- `most`. The documents come as two arrays of one length. Rows of others may be among them: with `few_pipelines` those of each
-- of the pipelines that have one of the ids, since pairs cost more to compare.
WITH
    -- include: early_clock_columns
SELECT
    pipeline, doc_id, step_name, execution_id, event_id, attempt, status, told_us AS timestamp_us,
    least(told_us + behind_us, toUnixTimestamp64Milli(broker_time) * 1000) AS event_us
FROM steps
WHERE ({few_pipelines:Bool} AND pipeline IN {pipelines:Array(String)} AND doc_id IN {docs:Array(String)})
   OR (NOT {few_pipelines:Bool} AND (pipeline, doc_id) IN
      (
          SELECT document.1, document.2
          FROM (SELECT arrayJoin(arrayZip({pipelines:Array(String)}, {docs:Array(String)})) AS document)
      ))
LIMIT {most:UInt64} BY pipeline, doc_id
SETTINGS optimize_use_projections = 0  -- the primary key it is
