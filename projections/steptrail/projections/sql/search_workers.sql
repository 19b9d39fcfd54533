-- Workers with a text in their name, those heard of last first.
SELECT worker, pipeline, toInt64(toUnixTimestamp64Milli(max(at))) AS last_ms, uniqExact(emitter_id) AS emitters
FROM
(
    SELECT toString(worker) AS worker, toString(pipeline) AS pipeline, emitter_id, last_time AS at FROM emitter_sequences
    UNION ALL
    SELECT toString(worker) AS worker, toString(pipeline) AS pipeline, emitter_id, broker_time AS at FROM emitter_reports
)
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String}) AND positionCaseInsensitiveUTF8(worker, {text:String}) > 0
GROUP BY worker, pipeline
ORDER BY last_ms DESC, worker
LIMIT {fetch:UInt64}
