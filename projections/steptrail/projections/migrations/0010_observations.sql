-- What consumers observed of executions, and which are stalled now.

CREATE TABLE IF NOT EXISTS observations
(
    observation_id  UUID CODEC(ZSTD(1))                 COMMENT 'Identity (UUIDv8), computed from execution and number: the same decision made twice has the same',
    what            Enum8('STALLED' = 0, 'RETRACTED' = 1) COMMENT 'STALLED: it was started and is past its deadline; RETRACTED: an ending or a later execution came after all',
    pipeline        LowCardinality(String)              COMMENT 'Tenant or pipeline name',
    doc_id          String CODEC(ZSTD(1))               COMMENT 'Document of the execution',
    step_name       LowCardinality(String)              COMMENT 'Step of the execution',
    execution_id    UUID CODEC(ZSTD(1))                 COMMENT 'The execution that this is about',
    number          UInt32 CODEC(ZSTD(1))               COMMENT 'Which observation of its execution, from 1; the greatest holds',
    retracts        Nullable(UUID) CODEC(ZSTD(1))       COMMENT 'RETRACTED: the STALLED observation that is taken back',
    status          Enum8('PENDING' = 0, 'RUNNING' = 1, 'SUCCESS' = 2, 'WARNING' = 3, 'ERROR' = 4, 'FAILED' = 5, 'SKIPPED' = 6) COMMENT 'Status of the execution when this was decided',
    started_at      DateTime64(6, 'UTC') CODEC(ZSTD(1)) COMMENT 'When the execution was first heard to run, by the broker''s clock',
    deadline_s      Nullable(Float64) CODEC(ZSTD(1))    COMMENT 'STALLED: how many seconds after started_at it should have ended',
    watermark       DateTime64(6, 'UTC') CODEC(ZSTD(1)) COMMENT 'The time up to which everything was known when this was decided, by the broker''s clock',
    decided_by      LowCardinality(String)              COMMENT 'Consumer group and member that decided',
    sentence        String CODEC(ZSTD(1))               COMMENT 'The evidence in one sentence',
    evidence        String CODEC(ZSTD(1))               COMMENT 'JSON object: the evidence as data',
    broker_time     DateTime64(3, 'UTC') CODEC(ZSTD(1)) COMMENT 'When the broker appended the observation',
    topic_id        LowCardinality(String)              COMMENT 'Kafka topic id that the observation was read from',
    kafka_partition Int32 CODEC(ZSTD(1))                COMMENT 'Kafka partition that the observation was read from',
    kafka_offset    Int64 CODEC(ZSTD(1))                COMMENT 'Kafka offset of the observation'
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(broker_time)
ORDER BY (pipeline, doc_id, execution_id, number, broker_time, kafka_offset)
COMMENT 'Observations as they stand on their topic. One that two members made at the same time stands here twice: the first counts.';

-- Each execution whose last observation is STALLED, as that says it; of two copies the first counts. What became of
-- the execution since is not looked at: stall_state does.
CREATE VIEW IF NOT EXISTS stalls_said AS
WITH (said.number, -toUnixTimestamp64Milli(said.broker_time), -said.kafka_offset) AS recency
SELECT
    said.pipeline                                   AS pipeline,
    said.doc_id                                     AS doc_id,
    said.step_name                                  AS step_name,
    said.execution_id                               AS execution_id,
    max(said.number)                                AS number,
    argMax(said.observation_id, recency)            AS observation_id,
    argMax(said.started_at, recency)                AS started_at,
    argMax(tuple(said.deadline_s), recency).1       AS deadline_s,
    argMax(said.watermark, recency)                 AS stalled_since,
    argMax(toString(said.decided_by), recency)      AS decided_by,
    argMax(said.sentence, recency)                  AS sentence,
    argMax(said.evidence, recency)                  AS evidence
FROM observations AS said
GROUP BY said.pipeline, said.doc_id, said.step_name, said.execution_id
HAVING argMax(said.what, recency) = 'STALLED';

-- The same, and what became of each since: `status` is the execution's now, `stands` says whether it is still open
-- and its step's current one. An ending, or a later execution, takes a stall back here before anybody says so.
CREATE VIEW IF NOT EXISTS stall_state AS
SELECT
    said.pipeline       AS pipeline,
    said.doc_id         AS doc_id,
    said.step_name      AS step_name,
    said.execution_id   AS execution_id,
    said.number         AS number,
    said.observation_id AS observation_id,
    said.started_at     AS started_at,
    said.deadline_s     AS deadline_s,
    said.stalled_since  AS stalled_since,
    said.decided_by     AS decided_by,
    said.sentence       AS sentence,
    said.evidence       AS evidence,
    now.status          AS status,
    now.is_open         AS stands
FROM stalls_said AS said
LEFT JOIN
(
    SELECT
        execution.pipeline AS pipeline, execution.doc_id AS doc_id, execution.step_name AS step_name,
        execution.execution_id AS execution_id, execution.winner.4 AS status,
        execution.winner.1 = 1
            AND (execution.last_any, toUInt128(execution.execution_id)) = max((execution.last_any, toUInt128(execution.execution_id)))
                OVER (PARTITION BY execution.pipeline, execution.step_name, execution.doc_id) AS is_open
    FROM step_executions AS execution FINAL
    WHERE (execution.pipeline, execution.step_name, execution.doc_id)
        IN (SELECT stalls_said.pipeline, stalls_said.step_name, stalls_said.doc_id FROM stalls_said)
) AS now
ON now.pipeline = said.pipeline AND now.doc_id = said.doc_id
    AND now.step_name = said.step_name AND now.execution_id = said.execution_id;

-- What is stalled now.
CREATE VIEW IF NOT EXISTS stalls AS
SELECT
    pipeline, doc_id, step_name, execution_id, started_at, deadline_s, stalled_since, decided_by, sentence, evidence,
    number, observation_id
FROM stall_state
WHERE stands;
