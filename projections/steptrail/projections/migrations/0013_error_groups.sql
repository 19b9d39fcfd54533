-- Errors that are the same but for numbers, names and places in their message, and what was decided about them.
-- Rows are counted anew from health_events, never added up; see step_minute_rows for `version`.

CREATE TABLE IF NOT EXISTS error_group_minutes
(
    minute      DateTime('UTC')                COMMENT 'Begin of the minute, by the broker''s clock',
    group_id    String                         COMMENT 'Identity of the group: 16 hex digits from pipeline, step, error type and template',
    pipeline    LowCardinality(String)         COMMENT 'Tenant or pipeline name',
    step_name   LowCardinality(String)         COMMENT 'Step of the pipeline',
    error_type  LowCardinality(String)         COMMENT 'Kind of the error; empty when the event names none',
    template    String CODEC(ZSTD(1))          COMMENT 'Message with <num>, <id>, <path>, <str> and the like where messages differ; (other messages) for those past the thousandth template of a minute',
    first_seen  DateTime64(3, 'UTC')           COMMENT 'First event of the group in the minute, by the broker''s clock',
    last_seen   DateTime64(3, 'UTC')           COMMENT 'Last event of the group in the minute, by the broker''s clock',
    count       UInt64                         COMMENT 'Events of the group in the minute, each once: ERROR and FAILED',
    documents   AggregateFunction(uniq, String) CODEC(ZSTD(1)) COMMENT 'Documents of these: uniqMerge(documents) over any rows, exact but for hash collisions up to 65,536, then within about 1 %',
    templates   AggregateFunction(uniq, String) CODEC(ZSTD(1)) COMMENT 'Templates of these: more than one for (other messages) only',
    examples    Array(Tuple(at DateTime64(3, 'UTC'), event_id UUID, doc_id String, message String)) CODEC(ZSTD(1)) COMMENT 'The latest events, three at most, newest first, each with another message',
    version     UInt64                         COMMENT 'Offsets that had been read when this was counted; the greatest holds'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, group_id)
COMMENT 'Error groups by minute: what error_group_hours is put together from.';

CREATE TABLE IF NOT EXISTS error_group_hours
(
    hour        DateTime('UTC')                COMMENT 'Begin of the hour, by the broker''s clock',
    group_id    String                         COMMENT 'Identity of the group: 16 hex digits from pipeline, step, error type and template',
    pipeline    LowCardinality(String)         COMMENT 'Tenant or pipeline name',
    step_name   LowCardinality(String)         COMMENT 'Step of the pipeline',
    error_type  LowCardinality(String)         COMMENT 'Kind of the error; empty when the event names none',
    template    String CODEC(ZSTD(1))          COMMENT 'Message with <num>, <id>, <path>, <str> and the like where messages differ; (other messages) for those past the thousandth template of a minute',
    first_seen  DateTime64(3, 'UTC')           COMMENT 'First event of the group in the hour, by the broker''s clock',
    last_seen   DateTime64(3, 'UTC')           COMMENT 'Last event of the group in the hour, by the broker''s clock',
    count       UInt64                         COMMENT 'Events of the group in the hour, each once: ERROR and FAILED',
    documents   AggregateFunction(uniq, String) CODEC(ZSTD(1)) COMMENT 'Documents of these: uniqMerge(documents) over any rows, exact but for hash collisions up to 65,536, then within about 1 %',
    templates   AggregateFunction(uniq, String) CODEC(ZSTD(1)) COMMENT 'Templates of these: more than one for (other messages) only',
    examples    Array(Tuple(at DateTime64(3, 'UTC'), event_id UUID, doc_id String, message String)) CODEC(ZSTD(1)) COMMENT 'The latest events, three at most, newest first, each with another message',
    version     UInt64                         COMMENT 'Offsets that had been read when this was counted; the greatest holds'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(hour)
ORDER BY (group_id, hour)
COMMENT 'Error groups by hour; read it with FINAL: an hour that was counted again may stand here twice until a merge.';

CREATE TABLE IF NOT EXISTS error_group_actions
(
    group_id    String                         COMMENT 'Identity of the group',
    number      UInt64                         COMMENT 'Grows by one with every action on the group; the greatest (number, action_id) holds',
    action_id   UUID                           COMMENT 'Identity of the action; decides between two that were taken at the same time',
    action      Enum8('REOPEN' = 0, 'RESOLVE' = 1, 'MUTE' = 2) COMMENT 'RESOLVE: mended, tell me if it comes back. MUTE: known, say no more. REOPEN takes either back',
    reason      String                         COMMENT 'Why, in the words of who did it',
    acted_by    String                         COMMENT 'user@host',
    acted_at    DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When, by the store''s clock'
)
ENGINE = MergeTree
ORDER BY (group_id, number, action_id)
COMMENT 'What people decided about error groups; nothing here is ever changed. The latest action of each group holds.';

CREATE TABLE IF NOT EXISTS error_group_rules
(
    number          UInt64                     COMMENT 'Grows by one with every change; the greatest (number, change_id) holds',
    change_id       UUID                       COMMENT 'Identity of the change; decides between two that were made at the same time',
    new_for_s       UInt32                     COMMENT 'For how many seconds after its first event a group is NEW, and after a return from silence REGRESSED',
    silent_after_s  UInt32                     COMMENT 'After how many seconds without an event a group that is seen again has returned; at least an hour',
    changed_by      String                     COMMENT 'user@host',
    changed_at      DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When, by the store''s clock'
)
ENGINE = MergeTree
ORDER BY (number, change_id)
COMMENT 'When a group counts as new and as back. While there is no row: new for a day, back after a week of silence.';

-- Every group, as it is now. A condition on group_id reaches the key of error_group_hours.
--   MUTED      by hand
--   RESOLVED   by hand, and not seen since
--   REGRESSED  seen after it had been resolved, until somebody acts; or seen again after a long silence, for a day
--   NEW        first seen within a day
--   ONGOING    everything else
CREATE VIEW IF NOT EXISTS error_groups AS
WITH
    (
        SELECT if(count() = 0, (86400, 604800), argMax((toUInt32(new_for_s), toUInt32(silent_after_s)), (number, toUInt128(change_id))))
        FROM error_group_rules
    ) AS rule,
    toUnixTimestamp64Milli(now64(3, 'UTC')) - toInt64(rule.1) * 1000 AS recent_ms,
    toInt64(rule.2) * 1000 AS silence_ms
SELECT
    seen.group_id AS group_id,
    seen.pipeline AS pipeline,
    seen.step_name AS step_name,
    seen.error_type AS error_type,
    seen.template AS template,
    seen.first_seen AS first_seen,
    seen.last_seen AS last_seen,
    seen.count AS count,
    seen.documents AS documents,
    seen.templates AS templates,
    CAST(
        multiIf(
            acted.action = 'MUTE', 'MUTED',
            acted.action = 'RESOLVE' AND seen.last_seen <= acted.acted_at, 'RESOLVED',
            acted.action = 'RESOLVE' OR seen.returned_ms >= recent_ms, 'REGRESSED',
            toUnixTimestamp64Milli(seen.first_seen) >= recent_ms, 'NEW',
            'ONGOING'
        ),
        'Enum8(''NEW'' = 0, ''ONGOING'' = 1, ''REGRESSED'' = 2, ''RESOLVED'' = 3, ''MUTED'' = 4)'
    ) AS state,
    if(acted.number = 0, NULL, acted.acted_at) AS acted_at,
    acted.acted_by AS acted_by,
    acted.reason AS reason
FROM
(
    SELECT
        hourly.group_id AS group_id,
        any(hourly.pipeline) AS pipeline,
        any(hourly.step_name) AS step_name,
        any(hourly.error_type) AS error_type,
        any(hourly.template) AS template,
        min(hourly.first_seen) AS first_seen,
        max(hourly.last_seen) AS last_seen,
        sum(hourly.count) AS count,
        uniqMerge(hourly.documents) AS documents,
        uniqMerge(hourly.templates) AS templates,
        -- A return that still counts lies within the last hours: of those before, the last event is enough.
        arraySort(groupArrayIf(
            (toUnixTimestamp64Milli(hourly.first_seen), toUnixTimestamp64Milli(hourly.last_seen)),
            toUnixTimestamp64Milli(hourly.last_seen) >= recent_ms
        )) AS lately,
        maxIf(toUnixTimestamp64Milli(hourly.last_seen), toUnixTimestamp64Milli(hourly.last_seen) < recent_ms) AS before_ms,
        arrayMax(arrayPushBack(arrayMap(
            (begin, end) -> if(end > 0 AND begin - end >= silence_ms, begin, 0),
            lately.1,
            arrayResize(arrayPushFront(lately.2, before_ms), length(lately))
        ), 0)) AS returned_ms
    FROM error_group_hours AS hourly FINAL
    GROUP BY hourly.group_id
) AS seen
LEFT JOIN
(
    SELECT
        done.group_id AS group_id,
        max(done.number) AS number,
        argMax(toString(done.action), (done.number, toUInt128(done.action_id))) AS action,
        argMax(done.acted_at, (done.number, toUInt128(done.action_id))) AS acted_at,
        argMax(done.acted_by, (done.number, toUInt128(done.action_id))) AS acted_by,
        argMax(done.reason, (done.number, toUInt128(done.action_id))) AS reason
    FROM error_group_actions AS done
    GROUP BY done.group_id
) AS acted ON acted.group_id = seen.group_id;
