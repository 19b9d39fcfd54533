-- What a consumer will never project: offsets that are gone from the topic, or that were passed over.

CREATE TABLE IF NOT EXISTS topic_gaps
(
    projection_name LowCardinality(String) COMMENT 'Name of the projection that lacks them, for instance steps',
    topic           LowCardinality(String) COMMENT 'Kafka topic name',
    topic_id        LowCardinality(String) COMMENT 'Kafka topic id; a recreated topic has another one',
    partition       Int32                  COMMENT 'Kafka partition',
    first_offset    Int64                  COMMENT 'First offset that was not projected',
    last_offset     Int64                  COMMENT 'Last offset that was not projected',
    reason          LowCardinality(String) COMMENT 'Why, in words',
    noticed_at      DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When the consumer noticed, by the store''s clock'
)
ENGINE = ReplacingMergeTree(last_offset)
ORDER BY (projection_name, topic_id, partition, first_offset)
COMMENT 'Runs of offsets that a projection will never have: expired before they were read, or committed but not in the ledger.';
