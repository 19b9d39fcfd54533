-- Codecs that fit the order in which rows lie. Parts that are written from now on have them, by inserts and by merges; what
-- stands in older parts is read as before.

-- Executions of a document, and documents of one time, lie together: their times differ by little.
ALTER TABLE step_executions
    MODIFY COLUMN first_run CODEC(Delta(8), ZSTD(1));
ALTER TABLE step_executions
    MODIFY COLUMN first_any CODEC(Delta(8), ZSTD(1));
ALTER TABLE step_executions
    MODIFY COLUMN last_any CODEC(Delta(8), ZSTD(1));

-- A document's events come soon after each other, from one worker, into one partition.
ALTER TABLE steps
    MODIFY COLUMN sequence CODEC(Delta(8), ZSTD(1));
ALTER TABLE steps
    MODIFY COLUMN kafka_offset CODEC(Delta(8), ZSTD(1));
