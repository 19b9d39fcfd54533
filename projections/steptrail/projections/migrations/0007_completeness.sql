-- Which steps the documents of a pipeline go through, and which documents have gone through them.

CREATE TABLE IF NOT EXISTS expected_steps_declarations
(
    pipeline    LowCardinality(String) COMMENT 'Tenant or pipeline name',
    version     UInt64                 COMMENT 'Grows by one with every declaration of the pipeline; the greatest (version, declaration) holds',
    declaration UUID                   COMMENT 'Identity of the declaration; decides between two that were made at the same time',
    steps       Array(String)          COMMENT 'All steps that a document of the pipeline goes through, in their order; empty takes the declaration back',
    declared_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When it was declared, by the store''s clock'
)
ENGINE = MergeTree
ORDER BY (pipeline, version, declaration)
COMMENT 'Every declaration of a pipeline''s steps; each replaces the earlier ones whole. What holds now is in the view expected_steps.';

-- What holds now. By version and not by time, so that a clock that was set back does not revive an old declaration.
CREATE VIEW IF NOT EXISTS expected_steps AS
WITH (declared.version, toUInt128(declared.declaration)) AS precedence
SELECT
    declared.pipeline                         AS pipeline,
    argMax(declared.steps, precedence)        AS steps,
    argMax(declared.declared_at, precedence)  AS declared_at
FROM expected_steps_declarations AS declared
GROUP BY declared.pipeline
HAVING notEmpty(argMax(declared.steps, precedence));

-- How far each document is, where its pipeline's steps were declared; of a document that sent nothing nobody knows.
-- Every expected step is in exactly one of these, by its current state:
--   done        SUCCESS, WARNING or SKIPPED
--   failed      ERROR or FAILED
--   unfinished  PENDING or RUNNING; a step that was done and is run again is unfinished until it ends again
--   missing     nothing was heard of it
-- A step that was heard of and is not expected is `unexpected`, whatever became of it.
-- A condition on pipeline and doc_id reaches the primary key of `steps`.
CREATE VIEW IF NOT EXISTS document_completeness AS
SELECT
    document.pipeline                                                       AS pipeline,
    document.doc_id                                                         AS doc_id,
    CAST(
        multiIf(
            length(done) < length(expected), 'incomplete',
            notEmpty(unexpected), 'unexpected',
            'complete'
        ),
        'Enum8(''complete'' = 0, ''incomplete'' = 1, ''unexpected'' = 2)'
    )                                                                       AS state,
    declared.steps                                                          AS expected,
    arrayFilter(step -> has(document.ended_well, step), declared.steps)     AS done,
    arrayFilter(step -> has(document.ended_badly, step), declared.steps)    AS failed,
    arrayFilter(step -> has(document.open, step), declared.steps)           AS unfinished,
    arrayFilter(step -> NOT has(document.heard_of, step), declared.steps)   AS missing,
    arrayFilter(step -> NOT has(declared.steps, step), document.heard_of)   AS unexpected,
    document.updated_at                                                     AS updated_at
FROM
(
    SELECT
        now.pipeline                                                                             AS pipeline,
        now.doc_id                                                                               AS doc_id,
        arraySort(groupArray(toString(now.step_name)))                                           AS heard_of,
        groupArrayIf(toString(now.step_name), now.status IN ('SUCCESS', 'WARNING', 'SKIPPED'))   AS ended_well,
        groupArrayIf(toString(now.step_name), now.status IN ('ERROR', 'FAILED'))                 AS ended_badly,
        groupArrayIf(toString(now.step_name), now.status IN ('PENDING', 'RUNNING'))              AS open,
        max(now.updated_at)                                                                      AS updated_at
    FROM step_state AS now
    GROUP BY now.pipeline, now.doc_id
) AS document
INNER JOIN expected_steps AS declared ON declared.pipeline = document.pipeline;
