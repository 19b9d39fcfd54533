-- One row for each execution, for questions over all documents: what is open, what was superseded.
-- Idempotent aggregates only: the same events again, in any order or cut, change nothing. That is also why
-- the last statement, which takes in what `steps` already holds, may run twice.
-- The tuple's elements have no names on purpose: `winner.status` would be read as a subcolumn, which FINAL does not
-- aggregate (it takes any row's), while `winner.4` is right.
-- Not partitioned, so that an execution that spans months is one row.

CREATE TABLE IF NOT EXISTS step_executions
(
    pipeline     LowCardinality(String)       COMMENT 'Tenant or pipeline name',
    step_name    LowCardinality(String)       COMMENT 'Step of the pipeline',
    doc_id       String CODEC(ZSTD(1))        COMMENT 'Document that was processed',
    execution_id UUID CODEC(ZSTD(1))          COMMENT 'One run of one step of one document',
    winner       SimpleAggregateFunction(max, Tuple(UInt8, DateTime64(6, 'UTC'), UInt128, Enum8('PENDING' = 0, 'RUNNING' = 1, 'SUCCESS' = 2, 'WARNING' = 3, 'ERROR' = 4, 'FAILED' = 5, 'SKIPPED' = 6))) CODEC(ZSTD(1)) COMMENT 'The deciding event: .1 rank (0 PENDING, 1 RUNNING, 2 ended), .2 its time, .3 its id as a number, .4 its status',
    attempt      SimpleAggregateFunction(max, UInt32) CODEC(ZSTD(1)) COMMENT 'Greatest attempt number that any of its events named',
    first_run    SimpleAggregateFunction(min, Nullable(DateTime64(6, 'UTC'))) CODEC(ZSTD(1)) COMMENT 'When it first ran; NULL when no RUNNING event is known',
    first_any    SimpleAggregateFunction(min, DateTime64(6, 'UTC')) CODEC(ZSTD(1)) COMMENT 'Its earliest event',
    last_any     SimpleAggregateFunction(max, DateTime64(6, 'UTC')) CODEC(ZSTD(1)) COMMENT 'Its latest event; the current execution of a step has the greatest (last_any, execution_id)'
)
ENGINE = AggregatingMergeTree
ORDER BY (pipeline, step_name, doc_id, execution_id)
COMMENT 'One row for each execution once merged: read it with FINAL.';

INSERT INTO step_executions
SELECT
    event.pipeline, event.step_name, event.doc_id, event.execution_id,
    max((event.rank, event.event_time, toUInt128(event.event_id), event.status)),
    max(event.attempt),
    minIf(toNullable(event.event_time), event.status = 'RUNNING'),
    min(event.event_time),
    max(event.event_time)
FROM
(
    SELECT *,
        least(timestamp, toDateTime64(broker_time, 6, 'UTC')) AS event_time,
        toUInt8(multiIf(status = 'PENDING', 0, status = 'RUNNING', 1, 2)) AS rank
    FROM steps
) AS event
GROUP BY event.pipeline, event.step_name, event.doc_id, event.execution_id;
