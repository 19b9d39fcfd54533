-- Which granules may have a document. The primary key finds one granule of each part for each document, whether the part
-- has it or not; with this index only parts that have it are read. A tenth of a byte an event.
--
-- Nothing here waits: parts that are there get it in the background, and are read as before until then.

ALTER TABLE steps ADD INDEX IF NOT EXISTS i_doc_id doc_id TYPE bloom_filter(0.01) GRANULARITY 1;

ALTER TABLE steps MATERIALIZE INDEX IF EXISTS i_doc_id SETTINGS mutations_sync = 0;
