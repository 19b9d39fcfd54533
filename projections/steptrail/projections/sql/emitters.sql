-- Emitters of which anything was heard since a time, what became of their events, and how their clocks are; those
-- heard of last come first. Which they are is found first, by the narrow columns: the view looks up the rest by its key.
SELECT
    emitter_id,
    worker,
    pipeline,
    state,
    arrived,
    accepted,
    delivered,
    failed,
    maybe_delivered,
    dropped,
    pending,
    missing,
    reasons,
    if(isNull(last_event_at), NULL, toUnixTimestamp64Milli(assumeNotNull(last_event_at)))    AS last_event_ms,
    if(isNull(last_report_at), NULL, toUnixTimestamp64Milli(assumeNotNull(last_report_at)))  AS last_report_ms,
    clock_offset_ms,
    clock_uncertainty_ms
FROM emitters
WHERE ({any_pipeline:Bool} OR pipeline = {pipeline:String})
  AND emitter_id IN
    (
        SELECT emitter_id FROM emitter_reports WHERE broker_time >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
        UNION ALL
        SELECT emitter_id FROM emitter_sequences WHERE last_time >= fromUnixTimestamp64Micro({start_us:Int64}, 'UTC')
    )
  AND (NOT {only_off:Bool} OR abs(clock_offset_ms) - clock_uncertainty_ms > {off_ms:Float64})
ORDER BY greatest(ifNull(last_event_ms, 0), ifNull(last_report_ms, 0)) DESC, emitter_id
LIMIT {fetch:UInt64}
