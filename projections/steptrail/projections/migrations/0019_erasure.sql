-- Documents that were erased, and that must not come back: neither by a replay, nor by a rebuild, nor by an event that
-- was on its way. A tombstone holds no document's name, only its hash under a key of this store.

CREATE TABLE IF NOT EXISTS erasure_key
(
    key     Tuple(UInt64, UInt64) COMMENT 'Key of the hash in erased_documents: SipHash-2-4, 128 bits',
    made_at DateTime64(9, 'UTC') DEFAULT now64(9, 'UTC') COMMENT 'When it was made; the earliest holds'
)
ENGINE = MergeTree
ORDER BY made_at
COMMENT 'The key under which erased documents are hashed. Never delete it: without it erased documents come back.';

INSERT INTO erasure_key (key)
SELECT (
    sipHash64(generateUUIDv4(1), randomString(32), now64(9)),
    sipHash64(generateUUIDv4(2), rand64(3), randomString(32))
)
WHERE (SELECT count() FROM erasure_key) = 0;

CREATE TABLE IF NOT EXISTS erased_documents
(
    document  FixedString(16)      COMMENT 'sipHash128Keyed(key, pipeline, doc_id)',
    erased_to DateTime64(6, 'UTC') COMMENT 'Events of the document that happened or arrived up to this time are not stored; later ones are',
    request   UUID                 COMMENT 'The erasure that asked for it'
)
ENGINE = MergeTree
ORDER BY (document, erased_to)
COMMENT 'Tombstones of erased documents. Never delete one: a replay of the topic would bring its document back.';

CREATE TABLE IF NOT EXISTS erasures
(
    request      UUID                  COMMENT 'Identity of the erasure',
    state        Enum8('BEGUN' = 0, 'FOUND' = 1, 'HIDDEN' = 2, 'DONE' = 3) COMMENT 'BEGUN: tombstones are written. FOUND: no batch that was under way can bring a row any more. HIDDEN: no query shows a row. DONE: the rows are out of the parts',
    at           DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When it came to this state, by the store''s clock',
    pipelines    Array(String)         COMMENT 'Pipelines of the documents',
    documents    UInt64                COMMENT 'How many documents were asked for',
    rows         Map(String, UInt64)   COMMENT 'Rows of these, by table, as counted before',
    erased_to    DateTime64(6, 'UTC')  COMMENT 'As in erased_documents',
    requested_by String                COMMENT 'Who asked, user@host',
    reason       String                COMMENT 'Why, in the words of who asked',
    minutes      Array(Tuple(String, DateTime('UTC'))) COMMENT 'Pipeline and begin of each minute with events of the documents: their counts and error groups are counted anew'
)
ENGINE = MergeTree
ORDER BY (request, state)
COMMENT 'Every erasure, a row for each state that it came to. Names no document.';

-- A lightweight delete hides rows at once; of a part with a projection it leaves the projection out until the part is
-- written anew.
ALTER TABLE steps MODIFY SETTING lightweight_mutation_projection_mode = 'drop';
