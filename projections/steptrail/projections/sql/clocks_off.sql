-- Emitters whose clock is certainly off by more than so much and of which anything was heard since a time; the worst
-- first, and how many there are in all. Few are, so their events are looked up by the primary key.
SELECT
    reported.worker         AS worker,
    reported.offset_ms      AS offset_ms,
    reported.uncertainty_ms AS uncertainty_ms,
    count() OVER ()         AS emitters
FROM
(
    SELECT
        report.emitter_id AS emitter_id, any(report.worker) AS worker, max(report.broker_time) AS at,
        argMax(report.clock_offset_ms, (report.broker_time, report.kafka_offset)) AS offset_ms,
        argMax(report.clock_uncertainty_ms, (report.broker_time, report.kafka_offset)) AS uncertainty_ms
    FROM emitter_reports AS report
    WHERE ({any_pipeline:Bool} OR report.pipeline = {pipeline:String})
      AND report.emitter_id IN (SELECT emitter_id FROM emitter_reports WHERE abs(clock_offset_ms) > {off_ms:Float64})
    GROUP BY report.emitter_id
    HAVING abs(offset_ms) - uncertainty_ms > {off_ms:Float64}
) AS reported
LEFT JOIN
(
    SELECT arrived.emitter_id AS emitter_id, max(arrived.last_time) AS at
    FROM emitter_sequences AS arrived
    WHERE arrived.emitter_id IN (SELECT emitter_id FROM emitter_reports WHERE abs(clock_offset_ms) > {off_ms:Float64})
    GROUP BY arrived.emitter_id
) AS events ON events.emitter_id = reported.emitter_id
WHERE greatest(reported.at, events.at) >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
ORDER BY abs(offset_ms) DESC, worker
LIMIT {fetch:UInt64}
