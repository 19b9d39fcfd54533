-- How each step fared in each minute of the broker's time: counts, durations, measurements.
-- A minute is counted anew from health_events whenever an event of it has come, and the row replaced: nothing is ever
-- added up, so what was sent twice, read twice or cut otherwise changes nothing.
--
-- `version` is how many offsets of the topic had been read when the row was counted; the greatest holds. Events are
-- never taken away, so a slow statement of a consumer that was replaced cannot put an older count in its place.

CREATE TABLE IF NOT EXISTS step_minute_rows
(
    minute         DateTime('UTC')        COMMENT 'Begin of the minute, by the broker''s clock',
    pipeline       LowCardinality(String) COMMENT 'Tenant or pipeline name',
    step_name      LowCardinality(String) COMMENT 'Step of the pipeline',
    events         UInt64                 COMMENT 'Events of the step, each once',
    pending        UInt64                 COMMENT 'Of these with status PENDING',
    running        UInt64                 COMMENT 'Of these with status RUNNING',
    success        UInt64                 COMMENT 'Of these with status SUCCESS',
    warning        UInt64                 COMMENT 'Of these with status WARNING',
    error          UInt64                 COMMENT 'Of these with status ERROR',
    failed         UInt64                 COMMENT 'Of these with status FAILED',
    skipped        UInt64                 COMMENT 'Of these with status SKIPPED',
    timed          UInt64                 COMMENT 'Events that say how long the execution took',
    duration_sum   Float64                COMMENT 'Sum of their durations in milliseconds',
    duration_min   Nullable(Float64)      COMMENT 'The least of them; NULL when there is none',
    duration_max   Nullable(Float64)      COMMENT 'The greatest of them; NULL when there is none',
    durations      AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), Nullable(Float64)) CODEC(ZSTD(1)) COMMENT 'Their distribution, to within 2 % of a duration: quantilesDDMerge(0.01, 0.5, 0.95, 0.99)(durations) over any rows',
    version        UInt64                 COMMENT 'Offsets that had been read when this was counted; the greatest holds'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, pipeline, step_name)
COMMENT 'What the view step_minutes reads; a minute that was counted again may stand here twice until a merge.';

-- FINAL: each minute by its latest count.
CREATE VIEW IF NOT EXISTS step_minutes AS
SELECT
    counted.minute AS minute,
    counted.pipeline AS pipeline,
    counted.step_name AS step_name,
    counted.events AS events,
    counted.pending AS pending,
    counted.running AS running,
    counted.success AS success,
    counted.warning AS warning,
    counted.error AS error,
    counted.failed AS failed,
    counted.skipped AS skipped,
    counted.timed AS timed,
    counted.duration_sum AS duration_sum,
    counted.duration_min AS duration_min,
    counted.duration_max AS duration_max,
    arrayMap(q -> if(counted.timed = 0, NULL, q), finalizeAggregation(counted.durations)) AS quantiles,
    quantiles[1] AS p50,
    quantiles[2] AS p95,
    quantiles[3] AS p99,
    counted.durations AS durations
FROM step_minute_rows AS counted FINAL;

CREATE TABLE IF NOT EXISTS step_metric_rows
(
    minute         DateTime('UTC')        COMMENT 'Begin of the minute, by the broker''s clock',
    pipeline       LowCardinality(String) COMMENT 'Tenant or pipeline name',
    step_name      LowCardinality(String) COMMENT 'Step of the pipeline',
    metric         LowCardinality(String) COMMENT 'Name of the measurement, as it stands in the events'' metrics',
    values         UInt64                 COMMENT 'How many events gave a number for it',
    sum            Float64                COMMENT 'Sum of the numbers; what lies beyond 1e40 counts as 1e40',
    min            Float64                COMMENT 'The least of them',
    max            Float64                COMMENT 'The greatest of them',
    version        UInt64                 COMMENT 'Offsets that had been read when this was counted; the greatest holds'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, pipeline, step_name, metric)
COMMENT 'What the view step_metrics reads; a minute that was counted again may stand here twice until a merge.';

CREATE VIEW IF NOT EXISTS step_metrics AS
SELECT
    counted.minute AS minute,
    counted.pipeline AS pipeline,
    counted.step_name AS step_name,
    counted.metric AS metric,
    counted.values AS values,
    counted.sum AS sum,
    counted.min AS min,
    counted.max AS max
FROM step_metric_rows AS counted FINAL;

-- How far minutes and error groups have been counted: a consumer that starts again counts what came after.
CREATE TABLE IF NOT EXISTS aggregate_marks
(
    topic_id     LowCardinality(String) COMMENT 'Kafka topic id',
    partition    Int32                  COMMENT 'Kafka partition',
    counted_to   Int64                  COMMENT 'The last offset of the partition that is in minutes and error groups',
    at           DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When it was written, by the store''s clock'
)
ENGINE = ReplacingMergeTree(counted_to)
ORDER BY (topic_id, partition)
COMMENT 'How far minutes and error groups are, by partition; behind the ledger''s high-water of the projection health by what is yet to be counted.';
