-- One document's events, oldest first, each with the time that decides in the fold (as step_state has it).
WITH
    -- include: early_clock_columns
SELECT
    -- include: event_columns
    , least(told_us + behind_us, toUnixTimestamp64Milli(broker_time) * 1000) AS event_us
FROM steps
WHERE pipeline = {pipeline:String} AND doc_id = {doc_id:String}
ORDER BY timestamp, toUInt128(event_id)
LIMIT {fetch:UInt64}
SETTINGS optimize_use_projections = 0  -- the primary key it is
