-- Who may write what, and what has been written: the delivery ledger shared by every projection.

CREATE TABLE IF NOT EXISTS projection_claims
(
    projection_name LowCardinality(String) COMMENT 'Name of the projection, for instance steps',
    topic      LowCardinality(String) COMMENT 'Kafka topic name',
    topic_id   LowCardinality(String) COMMENT 'Kafka topic id; a recreated topic has another one',
    partition  Int32                  COMMENT 'Kafka partition',
    epoch      UInt64                 COMMENT 'Grows by one with every claim; the greatest (epoch, owner) holds the partition',
    owner      UUID                   COMMENT 'Fresh for every claim call, so that no two claims look alike',
    at         DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When the claim was made, by the store''s clock'
)
ENGINE = MergeTree
ORDER BY (projection_name, topic_id, partition, epoch, owner)
COMMENT 'Claims of consumers on Kafka partitions: the greatest (epoch, owner) may write. Never delete the greatest.';

CREATE TABLE IF NOT EXISTS projection_ledger
(
    projection_name LowCardinality(String) COMMENT 'Name of the projection, for instance steps',
    topic        LowCardinality(String) COMMENT 'Kafka topic name',
    topic_id     LowCardinality(String) COMMENT 'Kafka topic id; a recreated topic has another one',
    partition    Int32                  COMMENT 'Kafka partition',
    first_offset Int64                  COMMENT 'First Kafka offset of the batch',
    last_offset  Int64                  COMMENT 'Last Kafka offset of the batch; the greatest is the high-water mark',
    rows         UInt32                 COMMENT 'Records of the batch that were projected; the others are holes or dead letters',
    epoch        UInt64                 COMMENT 'Epoch of the claim under which the batch was written',
    owner        UUID                   COMMENT 'Owner of the claim under which the batch was written',
    at           DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When the batch was finished, by the store''s clock'
)
ENGINE = MergeTree
ORDER BY (projection_name, topic_id, partition, last_offset)
COMMENT 'Batches of contiguous Kafka offsets that are in every table of the projection. Written last, read back before the commit.';
