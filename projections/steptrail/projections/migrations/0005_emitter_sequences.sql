-- Which of an emitter's events have arrived: one bit each, so that a lost event is known.
-- An idempotent aggregate: the same events again, in any order or cut, change nothing, and a late one fills its gap.

CREATE TABLE IF NOT EXISTS emitter_sequences
(
    emitter_id String                  COMMENT 'Emitter, 16 hex digits',
    block      Int64 CODEC(ZSTD(1))    COMMENT 'Sequence numbers 64 * block to 64 * block + 63',
    seen       SimpleAggregateFunction(groupBitOr, UInt64) CODEC(ZSTD(1)) COMMENT 'Bit i is set when event 64 * block + i has arrived',
    worker     SimpleAggregateFunction(any, String) CODEC(ZSTD(1)) COMMENT 'host:pid of the worker',
    pipeline   SimpleAggregateFunction(any, String) CODEC(ZSTD(1)) COMMENT 'Tenant or pipeline name',
    first_time SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)) COMMENT 'Broker time of the earliest of these events',
    last_time  SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)) COMMENT 'Broker time of the latest of these events'
)
ENGINE = AggregatingMergeTree
ORDER BY (emitter_id, block)
COMMENT 'Arrived events of each emitter as bits: read it with FINAL, or ask emitter_gaps.';

INSERT INTO emitter_sequences
SELECT
    event.emitter_id, intDiv(event.sequence, 64) AS sequence_block,
    groupBitOr(bitShiftLeft(toUInt64(1), bitAnd(event.sequence, 63))),
    any(toString(event.worker)), any(toString(event.pipeline)), min(event.broker_time), max(event.broker_time)
FROM steps AS event
GROUP BY event.emitter_id, sequence_block;
