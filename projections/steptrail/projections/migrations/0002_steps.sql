-- Every step event, once per Kafka record.

CREATE TABLE IF NOT EXISTS steps
(
    pipeline        LowCardinality(String)           COMMENT 'Tenant or pipeline name',
    doc_id          String CODEC(ZSTD(1))            COMMENT 'Document that was processed',
    step_name       LowCardinality(String)           COMMENT 'Step of the pipeline',
    status          Enum8('PENDING' = 0, 'RUNNING' = 1, 'SUCCESS' = 2, 'WARNING' = 3, 'ERROR' = 4, 'FAILED' = 5, 'SKIPPED' = 6) COMMENT 'What the worker said of the step',
    timestamp       DateTime64(6, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When it happened, by the worker''s clock',
    broker_time     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)) COMMENT 'When the broker appended the record (LogAppendTime)',
    event_id        UUID CODEC(ZSTD(1))              COMMENT 'Identity of the event (UUIDv7); the same event twice has the same id',
    execution_id    UUID CODEC(ZSTD(1))              COMMENT 'One run of one step; an ending closes the run that RUNNING opened',
    attempt         UInt32 CODEC(ZSTD(1))            COMMENT 'Number of the attempt, from 1',
    duration_ms     Nullable(Float64) CODEC(ZSTD(1)) COMMENT 'Duration of the execution in milliseconds, where known',
    error_type      LowCardinality(Nullable(String)) COMMENT 'Kind of the error, low-cardinality (OpenTelemetry error.type)',
    error_message   Nullable(String) CODEC(ZSTD(1))  COMMENT 'Message of the error',
    details         String CODEC(ZSTD(1))            COMMENT 'JSON object: results of the step; _steptrail in it marks what was normalised',
    metrics         String CODEC(ZSTD(1))            COMMENT 'JSON object: measurements of the step',
    depends_on      String CODEC(ZSTD(1))            COMMENT 'JSON array: names of the steps that this one waited for',
    trace_id        Nullable(String) CODEC(ZSTD(1))  COMMENT 'W3C trace id, when a trace was active',
    worker          LowCardinality(String)           COMMENT 'host:pid of the worker',
    emitter_id      LowCardinality(String)           COMMENT 'Emitter that sent the event, 16 hex digits',
    sequence        Int64 CODEC(ZSTD(1))             COMMENT 'Number of the event within its emitter, from 0; a gap is a lost event',
    topic_id        LowCardinality(String)           COMMENT 'Kafka topic id that the record was read from',
    kafka_partition Int32 CODEC(ZSTD(1))             COMMENT 'Kafka partition that the record was read from',
    kafka_offset    Int64 CODEC(ZSTD(1))             COMMENT 'Kafka offset of the record',

    -- The ledger's guard asks for the rows of a span of broker time.
    INDEX i_broker_time broker_time TYPE minmax GRANULARITY 1,
    -- What is failing, since when: all that a reader is shown of an event, by time instead of by document.
    PROJECTION p_time
    (
        SELECT
            pipeline, doc_id, step_name, status, timestamp, broker_time, event_id, execution_id, attempt, duration_ms,
            error_type, error_message, details, metrics, depends_on, trace_id, worker
        ORDER BY (pipeline, status, timestamp)
    )
)
-- Of an event that was sent twice the later copy stays: the fold counts the greatest broker time, merged or not.
ENGINE = ReplacingMergeTree(broker_time)
PARTITION BY toYYYYMM(broker_time)
ORDER BY (pipeline, doc_id, timestamp, event_id)
SETTINGS index_granularity = 1024, deduplicate_merge_projection_mode = 'rebuild'
COMMENT 'Every step event. An event that a worker sent twice may stand here twice until a merge: use LIMIT 1 BY event_id or uniqExact(event_id).';
