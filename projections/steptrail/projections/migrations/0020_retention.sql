-- For how long events are kept, by pipeline. Every change is a row; the latest of each pipeline holds.

CREATE TABLE IF NOT EXISTS retention_changes
(
    pipeline   LowCardinality(String) COMMENT 'Pipeline; empty: the default, for all that have no rule of their own',
    number     UInt64                 COMMENT 'Grows by one with every change of the pipeline; the greatest (number, change_id) holds',
    change_id  UUID                   COMMENT 'Identity of the change; decides between two that were made at the same time',
    days       Nullable(UInt32)       COMMENT 'Whole days (UTC) that events are kept after the broker had them; NULL: for ever',
    own        Bool                   COMMENT 'Whether days is the pipeline''s own rule; false: the default holds',
    held       Bool                   COMMENT 'Legal hold: nothing of the pipeline is removed by age, whatever the rules say',
    reason     String                 COMMENT 'Why, in the words of who changed it',
    changed_by String                 COMMENT 'user@host',
    changed_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When, by the store''s clock'
)
ENGINE = MergeTree
ORDER BY (pipeline, number, change_id)
COMMENT 'Retention rules and legal holds, written by steptrail retention. What holds now is in retention_rules.';

CREATE VIEW IF NOT EXISTS retention_rules AS
WITH (changed.number, toUInt128(changed.change_id)) AS recency
SELECT
    changed.pipeline                            AS pipeline,
    max(changed.number)                         AS number,
    argMax(tuple(changed.days), recency).1      AS days,
    argMax(changed.own, recency)                AS own,
    argMax(changed.held, recency)               AS held,
    argMax(changed.reason, recency)             AS reason,
    argMax(changed.changed_by, recency)         AS changed_by,
    argMax(changed.changed_at, recency)         AS changed_at
FROM retention_changes AS changed
GROUP BY changed.pipeline;
