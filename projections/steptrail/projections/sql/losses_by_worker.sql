-- What each worker's emitters lost, by what they say and by what is missing in their sequences; most first.
SELECT
    e.worker AS worker,
    e.pipeline AS pipeline,
    count()                              AS emitters,
    sum(e.accepted)                        AS accepted,
    sum(e.arrived)                         AS arrived,
    sum(greatest(e.missing, 0))            AS missing,
    sum(e.dropped)                         AS dropped,
    sum(e.failed)                          AS failed,
    countIf(NOT e.closed)                  AS not_closed,
    max(greatest(ifNull(toUnixTimestamp64Milli(e.last_event_at), 0), ifNull(toUnixTimestamp64Milli(e.last_report_at), 0))) AS last_ms,
    groupUniqArrayIf(20)(e.reasons, e.dropped + e.failed > 0) AS reasons
FROM emitters AS e
WHERE ({any_pipeline:Bool} OR e.pipeline = {pipeline:String})
  AND e.emitter_id IN
    (
        SELECT emitter_id FROM emitter_reports WHERE broker_time >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
        UNION ALL
        SELECT emitter_id FROM emitter_sequences WHERE last_time >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
    )
GROUP BY e.worker, e.pipeline
HAVING {all:Bool} OR missing + dropped + failed > 0
ORDER BY missing + dropped + failed DESC, last_ms DESC, worker
LIMIT {fetch:UInt64}
