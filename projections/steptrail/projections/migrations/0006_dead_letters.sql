-- Messages that are no events, and what was decided about each. Their bytes stay in the dead-letter topic.

CREATE TABLE IF NOT EXISTS dead_letters
(
    topic            LowCardinality(String)   COMMENT 'Kafka topic that the message was read from',
    source_topic_id  LowCardinality(String)   COMMENT 'Kafka id of that topic, another one after it was recreated; empty where the letter does not say',
    source_partition Int32                    COMMENT 'Kafka partition that the message was read from',
    source_offset    Int64                    COMMENT 'Kafka offset of the message there',
    source_time      DateTime64(3, 'UTC')     COMMENT 'When the broker had the message',
    reason           LowCardinality(String)   COMMENT 'Why it is no event, one of a small stable set: TRUNCATED, BAD_JSON, UNKNOWN_SCHEMA, REFUSED_BY_STORE, …',
    explanation      String CODEC(ZSTD(1))    COMMENT 'The reason in words',
    stage            LowCardinality(String)   COMMENT 'Where it was found out, in Kafka Connect''s words: VALUE_CONVERTER or TASK_PUT',
    exception_class  LowCardinality(String)   COMMENT 'Class of the error',
    position         Nullable(Int64)          COMMENT 'Byte of the value that is wrong, where one is to blame',
    field            LowCardinality(Nullable(String)) COMMENT 'Field of the event, or check, that failed',
    pipeline         LowCardinality(String)   COMMENT 'Tenant or pipeline, as far as the message tells; else by its key; else empty',
    doc_id           String CODEC(ZSTD(1))    COMMENT 'Document, as far as the message tells; else by its key; else empty',
    step_name        String CODEC(ZSTD(1))    COMMENT 'Step, as far as the message tells; else empty',
    event_id         Nullable(UUID)           COMMENT 'Identity of the event, as far as the message tells',
    value_bytes      Int64                    COMMENT 'Length of the message''s value in bytes',
    times_resent     UInt32                   COMMENT 'How often the message had been sent again before it came here',
    consumer         String CODEC(ZSTD(1))    COMMENT 'Consumer group and member that set it aside',
    broker_time      DateTime64(3, 'UTC')     COMMENT 'When the letter was appended to the dead-letter topic',
    topic_id         LowCardinality(String)   COMMENT 'Kafka id of the dead-letter topic',
    kafka_partition  Int32                    COMMENT 'Kafka partition of the letter in the dead-letter topic',
    kafka_offset     Int64                    COMMENT 'Kafka offset of the letter in the dead-letter topic'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(broker_time)
ORDER BY (topic, source_topic_id, source_partition, source_offset)
COMMENT 'Letters of the dead-letter topic. One whose acknowledgement was lost may stand here twice: ask dead_letter_state.';

CREATE TABLE IF NOT EXISTS dead_letter_decisions
(
    topic            LowCardinality(String)   COMMENT 'Kafka topic that the message was read from',
    source_topic_id  LowCardinality(String)   COMMENT 'Kafka id of that topic',
    source_partition Int32                    COMMENT 'Kafka partition that the message was read from',
    source_offset    Int64                    COMMENT 'Kafka offset of the message there',
    decision         Enum8('REDRIVEN' = 1, 'DROPPED' = 2) COMMENT 'REDRIVEN: sent again to its topic, and acknowledged; DROPPED: dealt with, nothing more is to be done',
    decided_at       DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When, by the store''s clock; the latest decision holds',
    decided_by       String CODEC(ZSTD(1))    COMMENT 'Who, user@host',
    run              String CODEC(ZSTD(1))    COMMENT 'The run of the command that it was decided in',
    note             String CODEC(ZSTD(1))    COMMENT 'Why, in the words of who decided',
    sent_partition   Nullable(Int32)          COMMENT 'REDRIVEN: Kafka partition that the message was sent to',
    sent_offset      Nullable(Int64)          COMMENT 'REDRIVEN: Kafka offset that it got there'
)
ENGINE = MergeTree
ORDER BY (topic, source_topic_id, source_partition, source_offset, decided_at)
COMMENT 'Decisions about dead letters, written by steptrail dlq. Kafka cannot delete single records; this is what says that one is dealt with.';

CREATE OR REPLACE VIEW dead_letter_state AS
SELECT
    letter.*,
    multiIf(ifNull(decided.decisions, 0) = 0, 'OPEN', toString(decided.latest.2)) AS state,
    if(ifNull(decided.decisions, 0) = 0, NULL, decided.latest.1) AS decided_at,
    if(ifNull(decided.decisions, 0) = 0, '', decided.latest.3)   AS decided_by,
    if(ifNull(decided.decisions, 0) = 0, '', decided.latest.4)   AS note
FROM
(
    SELECT *
    FROM dead_letters
    ORDER BY topic, source_topic_id, source_partition, source_offset, broker_time, kafka_offset
    LIMIT 1 BY topic, source_topic_id, source_partition, source_offset
) AS letter
LEFT JOIN
(
    SELECT
        topic, source_topic_id, source_partition, source_offset,
        count() AS decisions, max((decided_at, decision, decided_by, note)) AS latest
    FROM dead_letter_decisions
    GROUP BY topic, source_topic_id, source_partition, source_offset
) AS decided
USING (topic, source_topic_id, source_partition, source_offset)
COMMENT 'Every dead letter once, with its state: OPEN, REDRIVEN or DROPPED.';
