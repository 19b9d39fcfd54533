"""Backing the store up while consumers write, so that what it says of itself is true after a restore.

ClickHouse's BACKUP reads each table at a moment of its own, and nothing is held meanwhile. So the positions are read
before: how far each projection's ledger and each mark of counting is. They are written into the table `backups`, which
is in the backup. All tables then hold everything up to these positions, and some more. A restore takes the ledger and
the marks back to them; what tables hold beyond is left out by the guard when it is read again, as after any takeover.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import QueryError, StoreRefused
from steptrail.projections.clickhouse.migrate import migrations
from steptrail.projections.lifecycle.backups import (
    DATABASE,
    DISK,
    Backup,
    BackupRefused,
    BackupState,
    Target,
    write,
)
from steptrail.projections.lifecycle.erasures import unfinished
from steptrail.projections.lifecycle.stored_tables import EVENT_TABLES, OTHER_TABLES
from steptrail.projections.tables.health_events import HEALTH_EVENTS

POLL_S: Final = 0.2
TABLES: Final = (*(table.name for table in EVENT_TABLES), *OTHER_TABLES)
"""Every table of a backup. What stands beside them (stages, tables of a rebuild) is not in it."""

Tell = Callable[[int], None]
"""Is told how many bytes were written so far."""

_EXISTS: Final = (598, 600)
_NO_DISK: Final = (36, 479, 606)


def create(
    clickhouse: ClickHouse, target: Target, *, topics: str, by: str, tell: Tell = lambda _: None
) -> Backup:
    """Back the store up; `topics` is kept with it as it is. Returns the backup as it was written down.

    Raises BackupRefused where nothing was written, and InfrastructureError when the store is away: a backup that
    began may then still come to its end.
    """
    if unfinished(clickhouse):
        raise BackupRefused(
            "an erasure was begun and not finished: a backup could bring the documents back.",
            "`steptrail erase --list` shows it; `steptrail erase … --yes` finishes it.",
        )
    backup = _positions(clickhouse, target, topics, by)
    if target.named:
        _require_room(clickhouse, backup.bytes)
    write(clickhouse, backup)
    named = [
        f"TABLE {_own(clickhouse)}.{name} AS {DATABASE}.{name}" for name in (*backup.tables, *backup.views)
    ]
    run(clickhouse, f"BACKUP {', '.join(named)} TO {target.sql}", target, tell)
    created = replace(backup, state=BackupState.CREATED)
    write(clickhouse, created)
    return created


def run(clickhouse: ClickHouse, statement: str, target: Target, tell: Tell) -> None:
    """Run a BACKUP or RESTORE and wait until it has ended. Raises BackupRefused with what ClickHouse says."""
    identity = uuid.uuid4().hex
    statement = f"{statement} SETTINGS id = '{identity}' ASYNC"
    try:
        clickhouse.command(statement)
        while True:
            [(status, error, done)] = clickhouse.query(
                "SELECT toString(status), error, greatest(bytes_read, total_size) FROM system.backups "
                "WHERE id = {id:String}",
                {"id": identity},
            )
            if status in ("BACKUP_CREATED", "RESTORED"):
                return
            if status not in ("CREATING_BACKUP", "RESTORING"):
                raise _refused(target, str(error))
            tell(int(done))
            time.sleep(POLL_S)
    except (QueryError, StoreRefused) as error:
        raise _refused(target, str(error)) from None


def _positions(clickhouse: ClickHouse, target: Target, topics: str, by: str) -> Backup:
    # The marks first: counting goes on, and they must not promise counts that the ledger does not know of.
    marks = clickhouse.query(
        "SELECT concat(topic_id, '/', toString(partition)), max(counted_to) FROM aggregate_marks "
        "GROUP BY topic_id, partition"
    )
    positions = clickhouse.query(
        "SELECT projection_name, concat(projection_name, '/', topic_id, '/', toString(partition)), max(last_offset) "
        "FROM projection_ledger GROUP BY projection_name, topic_id, partition"
    )
    views = clickhouse.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View' ORDER BY name"
    )
    sizes = clickhouse.query(
        "SELECT table, sum(rows), sum(bytes_on_disk) FROM system.parts WHERE database = currentDatabase() AND active "
        "AND table IN {tables:Array(String)} GROUP BY table",
        {"tables": list(TABLES)},
    )
    rows = {str(table): int(count) for table, count, _ in sizes}
    return Backup(
        uuid.uuid4(),
        target.shown,
        migrations()[-1].version,
        {str(key): int(last) for _, key, last in positions},
        {str(key): int(last) for key, last in marks},
        sum(int(last) + 1 for name, _, last in positions if name == HEALTH_EVENTS.name),
        {table: rows.get(table, 0) for table in TABLES},
        tuple(str(name) for (name,) in views),
        sum(int(size) for _, _, size in sizes),
        topics,
        by,
    )


def _require_room(clickhouse: ClickHouse, needed: int) -> None:
    found = clickhouse.query(
        "SELECT free_space, keep_free_space, path FROM system.disks WHERE name = {name:String}",
        {"name": DISK},
    )
    if not found:
        raise BackupRefused(
            f"ClickHouse at {clickhouse.address} has no disk {DISK!r}.",
            "configure one and allow it for backups (docs/operating.md), or give another target, "
            "such as --to \"S3('https://…', …)\".",
        )
    [(free, kept, path)] = found
    room = max(0, int(free) - int(kept))
    # As much again as a tenth: parts come while it is written.
    if room < needed + needed // 10:
        raise BackupRefused(
            f"the disk of {path} has room for {room / 1e6:,.1f} MB, and the tables have {needed / 1e6:,.1f} MB. "
            "Nothing was written.",
            "make room there, or give another target with --to.",
        )


def _own(clickhouse: ClickHouse) -> str:
    return f"`{clickhouse.database.replace('`', '``')}`"


def _refused(target: Target, error: str) -> BackupRefused:
    said = target.without_secrets(error.partition("Stack trace")[0].partition("\n")[0].strip(" ,."))[:300]
    code = next((int(word.rstrip(".")) for word in said.split("Code: ")[1:2] for word in word.split()[:1]), 0)
    if code in _EXISTS:
        return BackupRefused(
            f"{target.shown} exists already.", "give another name with --to; a backup is never overwritten."
        )
    if code == 599:
        return BackupRefused(
            f"there is no whole backup at {target.shown}.",
            "`steptrail backup --list` shows those that there are; one that was cut off cannot be restored.",
        )
    if code in _NO_DISK:
        return BackupRefused(
            f"ClickHouse does not use {target.shown} for backups: {said}.",
            "configure the disk and allow it for backups (docs/operating.md).",
        )
    return BackupRefused(
        f"ClickHouse refused {target.shown}: {said}.",
        "nothing half done is left; remove the cause and run it again, or use another backup.",
    )
