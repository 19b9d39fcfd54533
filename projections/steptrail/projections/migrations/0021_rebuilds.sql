-- Rebuilding the projector's tables from the topic while the live ones go on.

CREATE TABLE IF NOT EXISTS rebuilds
(
    rebuild      UUID                   COMMENT 'Identity of the rebuild; its first 8 hex digits are in the names of its tables',
    number       UInt64                 COMMENT 'Grows by one with every state; the greatest holds',
    state        Enum8('STARTED' = 0, 'COPIED' = 1, 'FILLED' = 2, 'EXCHANGING' = 3, 'EXCHANGED' = 4, 'RETURNING' = 5, 'RETURNED' = 6, 'DROPPED' = 7) COMMENT 'STARTED: the new tables exist. COPIED: they hold what is not read from the topic. FILLED: they caught up with the topic. EXCHANGING, RETURNING: the exchange is under way, and projectors wait. EXCHANGED: the new tables are live. RETURNED: the old ones are live again. DROPPED: only the live tables are left',
    at           DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When it came to this state, by the store''s clock',
    topic        LowCardinality(String) COMMENT 'Kafka topic that is read',
    topic_id     LowCardinality(String) COMMENT 'Kafka id of that topic',
    pipelines    Array(String)          COMMENT 'Pipelines that are rebuilt; empty: all',
    since        Nullable(DateTime64(6, 'UTC')) COMMENT 'Records that the broker had before are copied from the live tables; NULL: everything on the topic is read',
    begins       Map(Int32, Int64)      COMMENT 'By partition: the first offset that is read from the topic; earlier ones are copied',
    cuts         Map(Int32, Int64)      COMMENT 'By partition: the last offset up to which other pipelines'' rows are copied',
    tables       Map(String, String)    COMMENT 'By table: UUID of the one that was built, by which it is known under any name',
    requested_by String                 COMMENT 'Who asked, user@host'
)
ENGINE = MergeTree
ORDER BY (rebuild, number)
COMMENT 'Every rebuild of the projector''s tables, a row for each state that it came to.';

CREATE TABLE IF NOT EXISTS projection_holds
(
    projection_name LowCardinality(String) COMMENT 'Name of the projection, for instance steps',
    hold            UUID                   COMMENT 'Identity of the hold',
    released        Bool                   COMMENT 'Whether it is over; a hold with such a row holds nothing',
    reason          String                 COMMENT 'What holds it, and how to go on',
    at              DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When, by the store''s clock'
)
ENGINE = MergeTree
ORDER BY (projection_name, hold, released)
COMMENT 'While a hold stands, nobody but its owner can claim a partition of the projection, so that its tables can be exchanged.';
