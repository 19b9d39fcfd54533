"""Numbered, checksummed SQL migrations, applied in order and recorded in `schema_migrations`.

Every statement of a migration is idempotent (`IF NOT EXISTS`, `OR REPLACE`, aggregates that may be written
twice), because ClickHouse has neither transactions nor locks for DDL: two processes that migrate at the same
time, or one that dies half-way, leave the same tables.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import MigrationError, QueryError, SchemaMismatch
from steptrail.projections.clickhouse.layouts import CLAIMS, Reading, Rendering, Replica, Single
from steptrail.projections.clickhouse.safety import require_safe

_SINGLE = Single()
_FILE_NAME = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")

_SCHEMA_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    version    UInt32 COMMENT 'Number of the migration',
    name       String COMMENT 'Name of the migration',
    checksum   String COMMENT 'SHA-256 of its SQL, hexadecimal',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') COMMENT 'When it was applied, by the store''s clock'
)
ENGINE = ReplacingMergeTree
ORDER BY version
COMMENT 'Migrations that this database has; written by steptrail migrate.'
"""


@dataclass(frozen=True)
class Migration:
    """One migration file: its number, name, SQL and the SHA-256 of that SQL."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the SQL, hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """The SQL cut at every semicolon that ends a line; comments that stand alone are dropped."""
        lines = (line for line in self.sql.splitlines() if not line.lstrip().startswith("--"))
        return [part.strip() for part in re.split(r";\s*\n", "\n".join(lines) + "\n") if part.strip(" \n;")]


@dataclass(frozen=True)
class MigrationState:
    """A migration and whether the database has it. `applied_at` is ISO 8601 in UTC, or None when pending."""

    version: int
    name: str
    applied_at: str | None


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations of this program, in order. Raises MigrationError for a gap or a misnamed file."""
    found = []
    for file in resources.files("steptrail.projections").joinpath("migrations").iterdir():
        match = _FILE_NAME.match(file.name)
        if match is None:
            raise MigrationError(f"{file.name} is not named like 0001_what_it_does.sql")
        found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.version)
    for expected, migration in enumerate(found, start=1):
        if migration.version != expected:
            raise MigrationError(f"migration {expected:04d} is missing before {migration.version:04d}")
    return tuple(found)


def migrate(
    clickhouse: ClickHouse, *, to: int | None = None, rendering: Rendering = _SINGLE
) -> list[Migration]:
    """Create the database where it is absent and apply what it lacks, up to version `to` (default: all).

    `rendering` makes the statements what the layout needs.

    Returns the migrations applied now, in order; running it twice, or from two processes at once, is safe.
    Raises MigrationError when a migration that was applied has since been changed or its SQL fails,
    SchemaMismatch when the database is ahead of this program or cannot keep rows safely, InfrastructureError when the
    store is away.
    """
    clickhouse.create_database()
    clickhouse.command(_SCHEMA_MIGRATIONS)
    done = refuse_unfit(clickhouse, rendering)
    applied = []
    for migration in migrations():
        if to is not None and migration.version > to:
            break
        if migration.version in done:
            continue
        _apply(clickhouse, migration, rendering)
        applied.append(migration)
    return applied


def refuse_unfit(clickhouse: ClickHouse, rendering: Rendering) -> Mapping[int, object]:
    """What a database has, by version; raises what `migrate` raises of one that it will not change."""
    require_safe(clickhouse)
    require_made_for(clickhouse, rendering)
    done = _applied(clickhouse)
    _refuse_ahead(clickhouse, done)
    for migration in migrations():
        if migration.version in done:
            _refuse_changed(migration, done[migration.version][0])
    return done


def database_statements(database: str) -> tuple[str, str]:
    """What is run before any migration."""
    return f"CREATE DATABASE IF NOT EXISTS `{database.replace('`', '``')}`", _SCHEMA_MIGRATIONS.strip()


def migration_states(clickhouse: ClickHouse) -> list[MigrationState]:
    """Every migration of this program, and when the database got it. Changes nothing."""
    done = _applied(clickhouse)
    return [
        MigrationState(m.version, m.name, done[m.version][1] if m.version in done else None)
        for m in migrations()
    ]


def require_current(clickhouse: ClickHouse) -> None:
    """Raise SchemaMismatch unless the database has exactly this program's migrations, and keeps rows safely."""
    done = _applied(clickhouse)
    _refuse_ahead(clickhouse, done)
    missing = [m for m in migrations() if m.version not in done]
    if missing:
        names = ", ".join(f"{m.version:04d}_{m.name}" for m in missing)
        raise SchemaMismatch(
            f"database {clickhouse.database!r} lacks migration {names}: run `steptrail migrate`"
        )
    require_safe(clickhouse)


def require_made_for(clickhouse: ClickHouse, rendering: Rendering) -> None:
    """Raise SchemaMismatch when the tables were made for another layout; a database without tables fits any."""
    found = clickhouse.query(
        "SELECT engine FROM system.tables WHERE database = currentDatabase() AND name = {name:String}",
        {"name": CLAIMS},
    )
    kinds = {"KeeperMap": Replica, "Distributed": Reading}
    made_for = kinds.get(found[0][0], Single) if found else type(rendering)
    if made_for is not type(rendering):
        raise SchemaMismatch(
            f"database {clickhouse.database!r} at {clickhouse.address} was made {_MADE[made_for]}, but by "
            f"STEPTRAIL_CLICKHOUSE_LAYOUT it is one {_MADE[type(rendering)]}: nothing was changed. Set the layout "
            "that it was made for, or name another database"
        )


_MADE = {
    Single: "of tables of a single server",
    Replica: "of replicated tables",
    Reading: "of tables that read from shards",
}


def _applied(clickhouse: ClickHouse) -> dict[int, tuple[str, str]]:
    """By version: checksum, and when it was applied."""
    try:
        rows = clickhouse.query(
            "SELECT version, argMin(checksum, applied_at), toString(min(schema_migrations.applied_at)) "
            "FROM schema_migrations GROUP BY version"
        )
    except QueryError as error:
        if error.code in (60, 81):  # UNKNOWN_TABLE, UNKNOWN_DATABASE: nothing was ever applied
            return {}
        raise
    return {int(version): (str(checksum), str(at).replace(" ", "T") + "Z") for version, checksum, at in rows}


def _apply(clickhouse: ClickHouse, migration: Migration, rendering: Rendering) -> None:
    for number, statement in enumerate(migration.statements, start=1):
        try:
            for rendered in rendering.render(statement):
                clickhouse.command(rendered)
        except QueryError as error:
            raise MigrationError(
                f"{migration.version:04d}_{migration.name}.sql, statement {number}: {error}"
            ) from error
    clickhouse.command(
        "INSERT INTO schema_migrations (version, name, checksum) "
        "SELECT {version:UInt32}, {name:String}, {checksum:String}",
        {"version": migration.version, "name": migration.name, "checksum": migration.checksum},
    )


def _refuse_changed(migration: Migration, checksum: str) -> None:
    if migration.checksum != checksum:
        raise MigrationError(
            f"{migration.version:04d}_{migration.name}.sql was changed after it had been applied "
            f"(applied {checksum[:12]}…, now {migration.checksum[:12]}…): put it back and add a new migration"
        )


def _refuse_ahead(clickhouse: ClickHouse, done: dict[int, tuple[str, str]]) -> None:
    newest = migrations()[-1].version
    ahead = max(done, default=0)
    if ahead > newest:
        raise SchemaMismatch(
            f"database {clickhouse.database!r} is at migration {ahead:04d}, this program knows {newest:04d}: "
            "upgrade steptrail"
        )
