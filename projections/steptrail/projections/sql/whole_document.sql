-- One document's events, oldest first, each with the time that decides in the fold (as step_state has it).
WITH
    (
        SELECT (groupArray(clock.emitter), groupArray(clock.events), groupArray(clock.offset_us))
        FROM
        (
            SELECT '' AS emitter, toInt64(0) AS events, toInt64(0) AS offset_us
            UNION ALL
            SELECT report.emitter_id, max(report.early_events), max(report.early_offset_us)
            FROM emitter_reports AS report
            WHERE report.early_offset_us != 0
            GROUP BY report.emitter_id
        ) AS clock
    )                                                       AS early,
    toUnixTimestamp64Micro(timestamp)                       AS told_us,
    if(
        intDiv(told_us, 1000) = toInt64(bitShiftRight(toUInt128(event_id), 80))
            AND sequence < transform(emitter_id, early.1, early.2, toInt64(0)),
        transform(emitter_id, early.1, early.3, toInt64(0)), 0) AS behind_us
SELECT
    -- include: event_columns
    , least(told_us + behind_us, toUnixTimestamp64Milli(broker_time) * 1000) AS event_us
FROM steps
WHERE pipeline = {pipeline:String} AND doc_id = {doc_id:String}
ORDER BY timestamp, toUInt128(event_id)
LIMIT {fetch:UInt64}
SETTINGS optimize_use_projections = 0  -- the primary key it is
