-- What emitters say of themselves, and what follows from it: which events are lost, by whom and when.

CREATE TABLE IF NOT EXISTS emitter_reports
(
    emitter_id      String CODEC(ZSTD(1))                COMMENT 'Emitter, 16 hex digits; one for each emitter and process',
    pipeline        LowCardinality(String)               COMMENT 'Tenant or pipeline name',
    worker          LowCardinality(String)               COMMENT 'host:pid of the worker',
    kind            Enum8('STARTED' = 0, 'RUNNING' = 1, 'CLOSED' = 2) COMMENT 'STARTED at its first event, RUNNING while events are lost, CLOSED as its last word',
    reported_at     DateTime64(6, 'UTC') CODEC(ZSTD(1))  COMMENT 'When, by the worker''s clock',
    accepted        Int64 CODEC(ZSTD(1))                 COMMENT 'Events taken so far; their sequence numbers are 0 to accepted - 1',
    delivered       Int64 CODEC(ZSTD(1))                 COMMENT 'Events that the broker confirmed',
    failed          Int64 CODEC(ZSTD(1))                 COMMENT 'Events that were sent and not confirmed',
    maybe_delivered Int64 CODEC(ZSTD(1))                 COMMENT 'Those of the failed ones that the broker may have stored all the same',
    dropped         Int64 CODEC(ZSTD(1))                 COMMENT 'Events that were never sent',
    pending         Int64 CODEC(ZSTD(1))                 COMMENT 'Events whose fate was open',
    reasons         String CODEC(ZSTD(1))                COMMENT 'JSON object: failed and dropped, each an object of counts by reason',
    broker_time     DateTime64(3, 'UTC') CODEC(ZSTD(1))  COMMENT 'When the broker appended the report',
    topic_id        LowCardinality(String)               COMMENT 'Kafka topic id that the report was read from',
    kafka_partition Int32 CODEC(ZSTD(1))                 COMMENT 'Kafka partition that the report was read from',
    kafka_offset    Int64 CODEC(ZSTD(1))                 COMMENT 'Kafka offset of the report'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(broker_time)
ORDER BY (emitter_id, broker_time, kafka_offset)
COMMENT 'Reports of emitters: accepted = delivered + failed + dropped + pending.';

-- One row for each emitter: what arrived of it, what it said last, what is missing.
CREATE VIEW IF NOT EXISTS emitters AS
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
    max(last_report_at)  AS last_report_at
FROM
(
    SELECT
        sequences.emitter_id AS emitter_id, any(sequences.worker) AS worker, any(sequences.pipeline) AS pipeline,
        toInt64(sum(bitCount(sequences.seen))) AS arrived,
        max(sequences.block * 64 + toInt64(arrayMax(bitPositionsToArray(sequences.seen)))) AS last_sequence,
        toInt64(0) AS accepted, toInt64(0) AS delivered, toInt64(0) AS failed, toInt64(0) AS maybe_delivered,
        toInt64(0) AS dropped, toInt64(0) AS pending, '' AS reasons, false AS closed,
        toNullable(max(sequences.last_time)) AS last_event_at, CAST(NULL, 'Nullable(DateTime64(3, ''UTC''))') AS last_report_at
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
        max(said.kind = 'CLOSED'), NULL, toNullable(max(said.broker_time))
    FROM emitter_reports AS said
    GROUP BY said.emitter_id
) AS emitter
GROUP BY emitter_id;

-- One row for each run of sequence numbers that did not arrive. A late event fills its gap: the row is gone, or
-- shrinks, at the next look. Younger gaps than the projector's lag may still be on their way.
CREATE VIEW IF NOT EXISTS emitter_gaps AS
WITH
    blocks AS
    (
        SELECT
            emitter_id, block, seen, worker, pipeline, first_time, last_time,
            max(block) OVER (PARTITION BY emitter_id) AS last_block,
            lagInFrame(block, 1, toInt64(-1)) OVER (PARTITION BY emitter_id ORDER BY block ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS previous_block,
            lagInFrame(last_time, 1, first_time) OVER (PARTITION BY emitter_id ORDER BY block ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS previous_time,
            if(block = last_block, toInt64(arrayMax(bitPositionsToArray(seen))), 63) AS top,
            arrayFilter(bit -> bitAnd(bitShiftRight(seen, bit), 1) = 0, range(top + 1)) AS holes,
            arraySplit((bit, position) -> position > 1 AND holes[position - 1] != bit - 1, holes, arrayEnumerate(holes)) AS runs
        FROM emitter_sequences FINAL
    )
SELECT emitter_id, worker, pipeline, first_sequence, last_sequence, last_sequence - first_sequence + 1 AS events, after, before
FROM
(
    SELECT emitter_id, worker, pipeline, (previous_block + 1) * 64 AS first_sequence, block * 64 - 1 AS last_sequence,
        previous_time AS after, toNullable(first_time) AS before
    FROM blocks
    WHERE block > previous_block + 1
    UNION ALL
    SELECT emitter_id, worker, pipeline, block * 64 + toInt64(run[1]), block * 64 + toInt64(run[-1]), first_time, toNullable(last_time)
    FROM blocks
    ARRAY JOIN runs AS run
    WHERE notEmpty(holes)
    UNION ALL
    SELECT emitter_id, worker, pipeline, emitters.last_sequence + 1, accepted - 1, ifNull(last_event_at, last_report_at), last_report_at
    FROM emitters
    WHERE closed AND accepted > emitters.last_sequence + 1
) AS gap;
