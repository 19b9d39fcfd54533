"""Restoring a store from a backup, so that it catches up from Kafka and nothing is lost or stored twice.

Tables come first, then the ledger, the marks and the counts are taken back to the positions of the backup. Claims and
migrations come last: without them no consumer and no command uses the store. Every claim is outdone by a new one, so
that a consumer that holds one of before reads the ledger again. A restore that was cut off begins anew.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.migrate import migrate, migrations
from steptrail.projections.lifecycle.backing_up import POLL_S, TABLES, Tell, run
from steptrail.projections.lifecycle.backups import (
    DATABASE,
    Backup,
    BackupRefused,
    BackupState,
    Target,
    backups,
    write,
)
from steptrail.projections.lifecycle.rebuilds import RebuildState, latest_rebuild
from steptrail.projections.lifecycle.rebuilds import write as write_rebuild
from steptrail.projections.lifecycle.stored_tables import counted_tables

_CLAIMS: Final = "projection_claims"
_MIGRATIONS: Final = "schema_migrations"
_LAST: Final = (_CLAIMS, _MIGRATIONS)
_MARKER: Final = "restoring"
_LOOKED_AT: Final = "restoring_backups"
_RESTORED_CLAIMS: Final = "restoring_claims"
_MADE_BY_MIGRATIONS: Final = ("erasure_key", _MIGRATIONS)
_UNLIMITED: Final = {"max_table_size_to_drop": 0, "max_partition_size_to_drop": 0}


@dataclass(frozen=True, slots=True)
class Restorable:
    """A backup, and `rows` of the tables of the store that is to be restored, where there are any."""

    backup: Backup
    rows: Mapping[str, int]

    def require(self) -> None:
        """Raise BackupRefused where it cannot be restored here."""
        newest = migrations()[-1].version
        if self.backup.migration > newest:
            raise BackupRefused(
                f"the backup has migration {self.backup.migration:04d}, this program knows {newest:04d}. "
                "Nothing was changed.",
                "restore with the version that made it, or a newer one.",
            )
        if self.rows:
            most = ", ".join(f"{table} {count:,}" for table, count in sorted(self.rows.items())[:4])
            raise BackupRefused(
                f"the store is not empty ({most} rows). Nothing was changed.",
                "restore into another database (its name ends STEPTRAIL_CLICKHOUSE), or stop all consumers and drop "
                "this one, if nothing in it is needed: DROP DATABASE.",
            )


def look(clickhouse: ClickHouse, target: Target) -> Restorable:
    """What a backup holds, and what is in its way; creates the database where it is absent, and nothing else."""
    clickhouse.create_database()
    _drop(clickhouse, _LOOKED_AT)
    run(
        clickhouse,
        f"RESTORE TABLE {DATABASE}.backups AS {_own(clickhouse)}.{_LOOKED_AT} FROM {target.sql}",
        target,
        lambda _: None,
    )
    try:
        found = backups(clickhouse, _LOOKED_AT)
    finally:
        _drop(clickhouse, _LOOKED_AT)
    # The last that was started is this one: it was written before the backup began.
    started = next((each for each in found if each.state is BackupState.STARTED), None)
    if started is None:
        raise BackupRefused(
            f"{target.shown} is not a backup of steptrail's store.", "`steptrail backup` makes one."
        )
    return Restorable(started, {} if _is_cut_off(clickhouse) else _rows(clickhouse))


def restore(
    clickhouse: ClickHouse,
    target: Target,
    found: Restorable,
    *,
    ends: Mapping[str, int],
    by: str,
    tell: Tell = lambda _: None,
) -> None:
    """Restore; `ends` is the last offset that topics have now, by projection/topic id/partition.

    Raises BackupRefused where nothing is left behind of it; when the store is away meanwhile, it begins anew.
    """
    found.require()
    if _is_cut_off(clickhouse):
        _wait_for_restores(clickhouse)
    clickhouse.command(
        f"CREATE TABLE IF NOT EXISTS {_MARKER} (at DateTime DEFAULT now()) ENGINE = MergeTree ORDER BY at"
    )
    backup = found.backup
    _drop_all(clickhouse, backup)
    try:
        first = [name for name in backup.tables if name not in _LAST]
        _restore(clickhouse, target, [*first, *backup.views], tell)
        _require_undamaged(clickhouse, target, first)
    except BackupRefused:
        _drop_all(clickhouse, backup)
        _drop(clickhouse, _MARKER)
        raise
    _take_back(clickhouse, backup)
    write(clickhouse, replace(backup, state=BackupState.RESTORED, positions=ends, requested_by=by))
    _claim_anew(clickhouse, target)
    _restore(clickhouse, target, [_MIGRATIONS], tell)
    _drop(clickhouse, _MARKER)
    migrate(clickhouse)


def _restore(clickhouse: ClickHouse, target: Target, names: list[str], tell: Tell) -> None:
    named = ", ".join(f"TABLE {DATABASE}.{name} AS {_own(clickhouse)}.{name}" for name in names)
    run(clickhouse, f"RESTORE {named} FROM {target.sql}", target, tell)


def _require_undamaged(clickhouse: ClickHouse, target: Target, tables: list[str]) -> None:
    """ClickHouse compares sizes when it restores; this reads everything and compares checksums."""
    for table in tables:
        settings = {"check_query_single_value_result": 0}
        checked = b"".join(clickhouse.stream(f"CHECK TABLE {table} FORMAT TSV", settings=settings)).decode()
        parts = [line.split("\t") for line in checked.splitlines()]
        if damaged := [part for part, passed, *_ in parts if passed not in ("1", "true")]:
            raise BackupRefused(
                f"{target.shown} is damaged: {table}, part {damaged[0]}. Nothing of it was left in the store.",
                "restore from another backup, or from another copy of this one.",
            )


def _take_back(clickhouse: ClickHouse, backup: Backup) -> None:
    """Have the ledger, marks and counts say what was true when the backup began."""
    saved = (
        f"(SELECT any(positions) FROM backups WHERE backup = toUUID('{backup.backup}') AND state = 'STARTED')"
    )
    key = "concat(projection_name, '/', topic_id, '/', toString(partition))"
    _delete(
        clickhouse, "projection_ledger", f"NOT mapContains({saved}, {key}) OR last_offset > {saved}[{key}]"
    )
    clickhouse.command("TRUNCATE TABLE aggregate_marks")
    if backup.marks:
        clickhouse.command(
            "INSERT INTO aggregate_marks (topic_id, partition, counted_to) "
            "SELECT splitByChar('/', one.1)[1], toInt32(splitByChar('/', one.1)[2]), one.2 FROM "
            f"(SELECT arrayJoin(any(marks)) AS one FROM backups WHERE backup = toUUID('{backup.backup}') "
            "AND state = 'STARTED')"
        )
    for table in counted_tables():
        _delete(clickhouse, table.name, f"version > {backup.version}")
    # An erasure that ran meanwhile may have taken rows out after they were copied: it is to be finished again.
    _delete(
        clickhouse,
        "erasures",
        f"state != 'BEGUN' AND at >= (SELECT min(at) FROM backups WHERE backup = toUUID('{backup.backup}'))",
    )
    clickhouse.command("TRUNCATE TABLE projection_holds")
    rebuild = latest_rebuild(clickhouse)
    if rebuild is not None and rebuild.state is not RebuildState.DROPPED:
        write_rebuild(clickhouse, rebuild.now(RebuildState.DROPPED))  # its tables are not in a backup


def _claim_anew(clickhouse: ClickHouse, target: Target) -> None:
    """The claims with one more for each partition, which nobody holds, in one statement: none of before counts."""
    _drop(clickhouse, _RESTORED_CLAIMS)
    run(
        clickhouse,
        f"RESTORE TABLE {DATABASE}.{_CLAIMS} AS {_own(clickhouse)}.{_RESTORED_CLAIMS} FROM {target.sql}",
        target,
        lambda _: None,
    )
    clickhouse.command(f"CREATE TABLE IF NOT EXISTS {_CLAIMS} AS {_RESTORED_CLAIMS}")
    clickhouse.command(
        f"INSERT INTO {_CLAIMS} (projection_name, topic, topic_id, partition, epoch, owner) "
        "SELECT projection_name, any(topic), topic_id, partition, max(epoch) + 1, generateUUIDv4() "
        f"FROM {_RESTORED_CLAIMS} GROUP BY projection_name, topic_id, partition"
    )
    _drop(clickhouse, _RESTORED_CLAIMS)


def _rows(clickhouse: ClickHouse) -> dict[str, int]:
    """Rows by table of what is in the way; a store that was migrated and nothing more is empty."""
    found = clickhouse.query(
        "SELECT table, sum(rows) FROM system.parts WHERE database = currentDatabase() AND active GROUP BY table"
    )
    return {str(table): int(rows) for table, rows in found if rows and table not in _MADE_BY_MIGRATIONS}


def _is_cut_off(clickhouse: ClickHouse) -> bool:
    [(there,)] = clickhouse.query(
        f"SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = '{_MARKER}'"
    )
    return bool(there)


def _wait_for_restores(clickhouse: ClickHouse) -> None:
    """Return once none runs: that of a restore that was cut off goes on in the server."""
    while clickhouse.query("SELECT 1 FROM system.backups WHERE status = 'RESTORING' LIMIT 1"):
        time.sleep(POLL_S)


def _drop_all(clickhouse: ClickHouse, backup: Backup) -> None:
    """Drop what a migration or a restore that was cut off has made; there is nothing else in an empty store."""
    there = clickhouse.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND name IN {names:Array(String)}",
        {"names": [*TABLES, *backup.tables, *backup.views, _RESTORED_CLAIMS]},
    )
    # Claims and migrations first: from then on nobody uses the store.
    for name in sorted((str(name) for (name,) in there), key=lambda name: name not in _LAST):
        _drop(clickhouse, name)


def _drop(clickhouse: ClickHouse, table: str) -> None:
    clickhouse.command(f"DROP TABLE IF EXISTS `{table}` SYNC", settings=_UNLIMITED)


def _delete(clickhouse: ClickHouse, table: str, condition: str) -> None:
    clickhouse.command(f"ALTER TABLE {table} DELETE WHERE {condition}", settings={"mutations_sync": 2})


def _own(clickhouse: ClickHouse) -> str:
    return f"`{clickhouse.database.replace('`', '``')}`"
