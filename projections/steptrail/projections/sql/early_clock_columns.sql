-- `behind_us` is what an emitter that reported times of its own before it knew the brokers' has to be given more.
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
