-- How far workers' clocks are from the brokers', as their emitters measured it and say in their reports.

ALTER TABLE emitter_reports ADD COLUMN IF NOT EXISTS clock_offset_ms Nullable(Float64)
    DEFAULT JSONExtract(reasons, 'clock', 'offset_ms', 'Nullable(Float64)') CODEC(ZSTD(1))
    COMMENT 'What must be added to the worker''s clock to have the brokers'', in milliseconds: positive when it is behind; NULL when not known';

ALTER TABLE emitter_reports ADD COLUMN IF NOT EXISTS clock_uncertainty_ms Nullable(Float64)
    DEFAULT JSONExtract(reasons, 'clock', 'uncertainty_ms', 'Nullable(Float64)') CODEC(ZSTD(1))
    COMMENT 'By how much clock_offset_ms may be wrong';

-- Measured times are corrected by the worker, where its clock is clearly off, once it knows. These tell of those before.
ALTER TABLE emitter_reports ADD COLUMN IF NOT EXISTS early_events Int64
    DEFAULT JSONExtractInt(reasons, 'clock', 'early_events') CODEC(ZSTD(1))
    COMMENT 'Times that events with a sequence number below this measured are not corrected';

ALTER TABLE emitter_reports ADD COLUMN IF NOT EXISTS early_offset_us Int64
    DEFAULT toInt64(round(JSONExtractFloat(reasons, 'clock', 'early_offset_ms') * 1000)) CODEC(ZSTD(1))
    COMMENT 'What must be added to those, in microseconds; 0 when there are none';

ALTER TABLE emitter_reports ADD INDEX IF NOT EXISTS i_early early_offset_us TYPE minmax GRANULARITY 1;

-- One row for each emitter: what arrived of it, what it said last, what is missing, and how its clock is.
CREATE OR REPLACE VIEW emitters AS
SELECT
    emitter_id,
    any(worker)          AS worker,
    any(pipeline)        AS pipeline,
    sum(arrived)         AS arrived,
    max(last_sequence)   AS last_sequence,
    max(accepted)        AS accepted,
    max(delivered)       AS delivered,
    max(failed)          AS failed,
    max(maybe_delivered) AS maybe_delivered,
    max(dropped)         AS dropped,
    max(pending)         AS pending,
    max(reasons)         AS reasons,
    max(closed)          AS closed,
    greatest(last_sequence + 1, accepted) - arrived AS missing,
    if(closed, 'closed', concat('unknown after sequence ', toString(greatest(last_sequence, accepted - 1)))) AS state,
    max(last_event_at)   AS last_event_at,
    max(last_report_at)  AS last_report_at,
    max(clock_offset_ms)      AS clock_offset_ms,
    max(clock_uncertainty_ms) AS clock_uncertainty_ms
FROM
(
    SELECT
        sequences.emitter_id AS emitter_id, any(sequences.worker) AS worker, any(sequences.pipeline) AS pipeline,
        toInt64(sum(bitCount(sequences.seen))) AS arrived,
        max(sequences.block * 64 + toInt64(arrayMax(bitPositionsToArray(sequences.seen)))) AS last_sequence,
        toInt64(0) AS accepted, toInt64(0) AS delivered, toInt64(0) AS failed, toInt64(0) AS maybe_delivered,
        toInt64(0) AS dropped, toInt64(0) AS pending, '' AS reasons, false AS closed,
        toNullable(max(sequences.last_time)) AS last_event_at, CAST(NULL, 'Nullable(DateTime64(3, ''UTC''))') AS last_report_at,
        CAST(NULL, 'Nullable(Float64)') AS clock_offset_ms, CAST(NULL, 'Nullable(Float64)') AS clock_uncertainty_ms
    FROM emitter_sequences AS sequences FINAL
    GROUP BY sequences.emitter_id
    UNION ALL
    SELECT
        said.emitter_id, any(toString(said.worker)), any(toString(said.pipeline)), toInt64(0), toInt64(-1),
        argMax(said.accepted, (said.broker_time, said.kafka_offset)),
        argMax(said.delivered, (said.broker_time, said.kafka_offset)),
        argMax(said.failed, (said.broker_time, said.kafka_offset)),
        argMax(said.maybe_delivered, (said.broker_time, said.kafka_offset)),
        argMax(said.dropped, (said.broker_time, said.kafka_offset)),
        argMax(said.pending, (said.broker_time, said.kafka_offset)),
        argMax(said.reasons, (said.broker_time, said.kafka_offset)),
        max(said.kind = 'CLOSED'), NULL, toNullable(max(said.broker_time)),
        argMax(said.clock_offset_ms, (said.broker_time, said.kafka_offset)),  -- of those that are not NULL
        argMax(said.clock_uncertainty_ms, (said.broker_time, said.kafka_offset))
    FROM emitter_reports AS said
    GROUP BY said.emitter_id
) AS emitter
GROUP BY emitter_id;
