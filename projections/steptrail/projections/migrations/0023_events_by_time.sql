-- Fewer columns in the order of time. The projection p_time repeated all that a list shows of an event, and was more than
-- half of the table. Its successor has the columns by which events are found and what errors are shown with. Lists of
-- PENDING, RUNNING and SUCCESS events look the rest up by the primary key; for all others, which are few, it is in
-- `rare_texts`, which is empty for most rows and so takes next to no space.
--
-- Nothing here waits: the new projection is built in the background, part by part. Until a part has it, questions in the
-- order of time read that part as a whole. Rows that are written meanwhile have it at once.

ALTER TABLE steps ADD COLUMN IF NOT EXISTS run UInt8
    MATERIALIZED toUInt8(bitAnd(toUInt128(execution_id), 255))
    CODEC(ZSTD(1))
    COMMENT 'Last byte of execution_id: executions of a step for which it differs are different';

ALTER TABLE steps ADD COLUMN IF NOT EXISTS rare_texts Array(String)
    MATERIALIZED if(status > 'SUCCESS', [toString(execution_id), details, metrics, depends_on], [])
    CODEC(ZSTD(1))
    COMMENT 'execution_id, details, metrics and depends_on of WARNING, ERROR, FAILED and SKIPPED; empty for other statuses. Faster to read by time than these columns';

-- Projections have no codecs of their own: they are written with the table's default, which is LZ4 unless it is set.
ALTER TABLE steps MODIFY SETTING default_compression_codec = 'ZSTD(1)';

ALTER TABLE steps DROP PROJECTION IF EXISTS p_time SETTINGS alter_sync = 0;

ALTER TABLE steps ADD PROJECTION IF NOT EXISTS p_by_time
(
    SELECT
        pipeline, doc_id, step_name, status, timestamp, broker_time, event_id, run, attempt, duration_ms, error_type,
        error_message, trace_id, worker, rare_texts
    ORDER BY (pipeline, status, timestamp)
);

ALTER TABLE steps MATERIALIZE PROJECTION IF EXISTS p_by_time;
