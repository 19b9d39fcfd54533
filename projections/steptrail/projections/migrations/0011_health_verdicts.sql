-- What the health consumer says, what it goes on from after a restart, and whether it can see.

CREATE TABLE IF NOT EXISTS health_verdicts
(
    pipeline  LowCardinality(String)  COMMENT 'Tenant or pipeline; empty: everything',
    step_name LowCardinality(String)  COMMENT 'Step; empty: the pipeline as a whole',
    slot      Int64                   COMMENT 'The 5-second slot that changed the verdict: its begin in seconds since the epoch / 5',
    status    Enum8('HEALTHY' = 0, 'UNKNOWN' = 1, 'WARNING' = 2, 'CRITICAL' = 3) COMMENT 'How it is from then on',
    since     DateTime64(3, 'UTC')    COMMENT 'When the status became so, by the broker''s clock',
    at        DateTime64(3, 'UTC')    COMMENT 'The end of the slot, by the broker''s clock',
    sentence  String CODEC(ZSTD(1))   COMMENT 'The heaviest finding in words',
    findings  String CODEC(ZSTD(1))   COMMENT 'JSON array: every rule that speaks, with its status, sentence and evidence',
    forgotten Bool                    COMMENT 'The step has not been heard of for so long that it is not watched any more'
)
ENGINE = ReplacingMergeTree
ORDER BY (pipeline, step_name, slot)
COMMENT 'Every change of a verdict. The same slots give the same rows, so one that was written twice is the same row twice: ask health_state, or use LIMIT 1 BY.';

-- The latest verdict of each step, of each pipeline (step_name is empty) and of everything (both are).
CREATE VIEW IF NOT EXISTS health_state AS
SELECT said.pipeline AS pipeline, said.step_name AS step_name, said.slot AS slot, said.status AS status,
    said.since AS since, said.at AS at, said.sentence AS sentence, said.findings AS findings
FROM
(
    SELECT *
    FROM health_verdicts
    ORDER BY pipeline, step_name, slot DESC
    LIMIT 1 BY pipeline, step_name
) AS said
WHERE NOT said.forgotten;

-- A ring of so many places: a snapshot takes the oldest one's, so that the table stays small.
CREATE TABLE IF NOT EXISTS health_snapshots
(
    place     UInt8                          COMMENT 'Place in the ring',
    at        DateTime64(3, 'UTC')           COMMENT 'When it was made, by the consumer''s clock',
    slot      Int64                          COMMENT 'The last slot that it has in it',
    watermark DateTime64(3, 'UTC')           COMMENT 'Up to when the topic was known to be complete',
    offsets   String CODEC(ZSTD(1))          COMMENT 'JSON object: partition to the offset after the last one that was applied',
    member    String CODEC(ZSTD(1))          COMMENT 'host:pid of the health consumer',
    state     String CODEC(NONE)             COMMENT 'All that the rules remember, base64 of a compressed format of the program''s own'
)
ENGINE = ReplacingMergeTree(at)
ORDER BY place
COMMENT 'What the health consumer goes on from after a restart; it can be made anew from health_events.';

CREATE TABLE IF NOT EXISTS health_sight
(
    at        DateTime64(3, 'UTC')           COMMENT 'When, by the consumer''s clock',
    state     Enum8('SEEING' = 0, 'BLIND' = 1) COMMENT 'BLIND: verdicts cannot be believed, whatever they say',
    watermark Nullable(DateTime64(3, 'UTC')) COMMENT 'Up to when the topic is known to be complete, by the broker''s clock',
    slot      Nullable(Int64)                COMMENT 'The last slot that was judged',
    reason    String CODEC(ZSTD(1))          COMMENT 'What it is that cannot be seen, or what is waited for; empty while all is well',
    late      UInt64                         COMMENT 'Events of this member''s run that came after their slot had been judged',
    member    String CODEC(ZSTD(1))          COMMENT 'host:pid of the health consumer'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(at)
ORDER BY at
TTL toDateTime(at) + INTERVAL 400 DAY
COMMENT 'A row at least every 10 seconds while a health consumer runs, and one whenever it begins or ceases to see.';

-- What was known to be lost when a slot was judged: a fact of that moment, since reports come when they come. Kept,
-- so that judging the slot again gives the same verdict.
CREATE TABLE IF NOT EXISTS health_losses
(
    slot         Int64                  COMMENT 'The slot that it was counted for; of the first row: where counting began',
    pipeline     LowCardinality(String) COMMENT 'Tenant or pipeline; empty where no message told',
    dropped      Int64                  COMMENT 'Events more than before that emitters said they dropped or could not send',
    gaps         Int64                  COMMENT 'Events more than before that are missing in emitters'' sequences, and not said to be dropped',
    dead_letters Int64                  COMMENT 'Messages more than before that are no events',
    counted      Bool                   COMMENT 'False: they were there before counting began, and were not held against anyone'
)
ENGINE = ReplacingMergeTree
ORDER BY (slot, pipeline)
COMMENT 'Losses by slot and pipeline, as the health consumer counted them.';
