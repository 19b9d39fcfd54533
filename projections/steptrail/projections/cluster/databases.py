"""The databases of a layout: which there are, and what each of them is migrated with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.layouts import CLAIMS, Reading, Rendering, Replica, Single
from steptrail.projections.clickhouse.migrate import (
    Migration,
    MigrationState,
    database_statements,
    migrate,
    migration_states,
    migrations,
)
from steptrail.projections.tables.dead_letters import DEAD_LETTERS
from steptrail.projections.tables.emitter_reports import EMITTER_REPORTS
from steptrail.projections.tables.health_events import HEALTH_EVENTS
from steptrail.projections.tables.observations import OBSERVATIONS
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.configuration.clickhouse_settings import REPLICATED, SHARDED
from steptrail.schemas.configuration.clickhouse_target import ClickHouseTarget
from steptrail.schemas.configuration.settings import Settings

SPECS: Final = (STEP_EVENTS, DEAD_LETTERS, EMITTER_REPORTS, OBSERVATIONS, HEALTH_EVENTS)
"""Every projection: what is written under a ledger."""


@cache
def distributed_tables() -> frozenset[str]:
    """The tables that projections write, by Kafka partition: each shard has a part of their rows."""
    targets = {target.table for spec in SPECS for target in spec.targets}
    return frozenset({*targets, CLAIMS, "projection_ledger", "topic_gaps"})


@dataclass(frozen=True)
class Database:
    """A database on a server: what it is, where, and how migrations are rendered for it."""

    is_what: str
    target: ClickHouseTarget
    rendering: Rendering

    @property
    def place(self) -> str:
        """Host, port and database, for people."""
        return f"{self.target.host}:{self.target.port}/{self.target.database}"


def databases(settings: Settings) -> list[Database]:
    """Every database that `settings` has, in the order in which they are migrated."""
    layout = settings.clickhouse_layout
    found = []
    for number, replicas in enumerate(settings.clickhouse_shards()):
        for position, target in enumerate(replicas):
            rendering: Rendering = Single()
            words = []
            if layout in SHARDED:
                words.append(f"shard {number}")
            if layout in REPLICATED:
                words.append(f"replica {position}")
                rendering = Replica(target.database, first=position == 0)
            found.append(Database(", ".join(words) or "the store", target, rendering))
    if layout in SHARDED:
        local = found[0].target.database
        reading = Reading(local, settings.clickhouse_cluster, distributed_tables())
        found.append(Database("for reading", settings.clickhouse_target(), reading))
    return found


def statements(database: Database) -> Iterator[str]:
    """Every statement that makes the database from nothing."""
    yield from database_statements(database.target.database)
    for migration in migrations():
        for statement in migration.statements:
            yield from database.rendering.render(statement)


def migrate_all(
    settings: Settings, *, to: int | None = None
) -> list[tuple[Database, list[Migration], list[MigrationState]]]:
    """Migrate every database; of each, what was applied now, and how it stands. Raises what `migrate` raises."""
    done = []
    for database in databases(settings):
        with ClickHouse(database.target) as clickhouse:
            applied = migrate(clickhouse, to=to, rendering=database.rendering)
            done.append((database, applied, migration_states(clickhouse)))
    return done
