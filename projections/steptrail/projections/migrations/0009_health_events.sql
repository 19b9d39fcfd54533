-- What health, minutes and error groups are computed from: every step event once, and of it only what they need.
-- Written by the health consumer under its own name in the ledger, so that it neither waits for the projector nor
-- shares its faults.
--
-- An event that was sent twice stands here once, the first copy: the writer looks its id up. An execution's events
-- lie together and, since ids begin with their time, those of one time do too: which event opened an execution is
-- found without reading more than its granule, and the index on broker time picks out slots and minutes.

CREATE TABLE IF NOT EXISTS health_events
(
    pipeline        LowCardinality(String)           COMMENT 'Tenant or pipeline name',
    step_name       LowCardinality(String)           COMMENT 'Step of the pipeline',
    doc_id          String CODEC(ZSTD(1))            COMMENT 'Document that was processed',
    status          Enum8('PENDING' = 0, 'RUNNING' = 1, 'SUCCESS' = 2, 'WARNING' = 3, 'ERROR' = 4, 'FAILED' = 5, 'SKIPPED' = 6) COMMENT 'What the worker said of the step',
    timestamp       DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When it happened, by the worker''s clock',
    broker_time     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the broker appended the record (LogAppendTime); slots and minutes are cut by it',
    event_id        UUID CODEC(ZSTD(1))              COMMENT 'Identity of the event (UUIDv7)',
    execution_id    UUID CODEC(ZSTD(1))              COMMENT 'One run of one step',
    attempt         UInt32 CODEC(ZSTD(1))            COMMENT 'Number of the attempt, from 1',
    duration_ms     Nullable(Float64) CODEC(ZSTD(1)) COMMENT 'Duration of the execution in milliseconds, where known',
    error_type      LowCardinality(Nullable(String)) COMMENT 'Kind of the error, low-cardinality (OpenTelemetry error.type)',
    error_message   Nullable(String) CODEC(ZSTD(1))  COMMENT 'Message of the error, its first 4 KiB',
    metrics         String CODEC(ZSTD(1))            COMMENT 'JSON object: measurements of the step',
    worker          LowCardinality(String)           COMMENT 'host:pid of the worker',
    topic_id        LowCardinality(String)           COMMENT 'Kafka topic id that the record was read from',
    kafka_partition Int32 CODEC(ZSTD(1))             COMMENT 'Kafka partition that the record was read from',
    kafka_offset    Int64 CODEC(ZSTD(1))             COMMENT 'Kafka offset of the record',

    INDEX i_broker_time broker_time TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(broker_time)
-- The order of a UUID's text; a UUID itself is compared by its second half first.
ORDER BY (toUInt128(execution_id), toUInt128(event_id))
COMMENT 'Every step event once, narrow: what health, minutes and error groups are computed from.';
