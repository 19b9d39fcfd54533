-- Backups of the store, and what a restored store must know.

CREATE TABLE IF NOT EXISTS backups
(
    backup       UUID                   COMMENT 'Identity of the backup',
    state        Enum8('STARTED' = 0, 'CREATED' = 1, 'RESTORED' = 2) COMMENT 'STARTED: written before the backup, and so in it. CREATED: it is whole. RESTORED: this store was restored from it',
    at           DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When it came to this state, by the store''s clock',
    name         String                 COMMENT 'Where it is: a name on the disk backups, or a target without its secrets',
    migration    UInt32                 COMMENT 'Number of the latest migration that the store had',
    positions    Map(String, Int64)     COMMENT 'By projection/topic id/partition: the last offset that was in every table. RESTORED: the last offset that the topic had then',
    marks        Map(String, Int64)     COMMENT 'By topic id/partition: the last offset that minutes and error groups had counted',
    version      UInt64                 COMMENT 'Offsets that health had read: counts of a greater version are counted again',
    tables       Map(String, UInt64)    COMMENT 'By table: rows when the backup began',
    views        Array(String)          COMMENT 'Views that are in it',
    bytes        UInt64                 COMMENT 'Size of the tables, compressed',
    topics       String                 COMMENT 'JSON: partitions, replicas and properties of each topic',
    requested_by String                 COMMENT 'Who asked, user@host'
)
ENGINE = MergeTree
ORDER BY (backup, state)
COMMENT 'Backups of this store, and whether it was restored from one, a row for each state.';
