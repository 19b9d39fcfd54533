"""Asks every server of a layout before any of them is migrated, so that a refusal leaves nothing half done."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from steptrail.projections.clickhouse.agreement import require_cluster, require_replicas
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import QueryError
from steptrail.projections.clickhouse.migrate import refuse_unfit
from steptrail.projections.cluster.databases import databases
from steptrail.schemas.configuration.clickhouse_settings import REPLICATED, SHARDED
from steptrail.schemas.configuration.clickhouse_target import ClickHouseTarget
from steptrail.schemas.configuration.settings import Settings

_UNKNOWN_DATABASE = 81


def require_fit(settings: Settings) -> None:
    """Raise what migrating any of the databases would raise, before anything is changed.

    SchemaMismatch: a database of another layout or ahead of this program, a release or a setting under which rows may
    be lost, replicas that are none, a cluster that does not exist. MigrationError: a migration that was changed.
    InfrastructureError: a server is away.
    """
    for database in databases(settings):
        with ClickHouse(database.target) as store:
            try:
                refuse_unfit(store, database.rendering)
            except QueryError as error:
                if error.code != _UNKNOWN_DATABASE:
                    raise
    shards = settings.clickhouse_shards()
    if settings.clickhouse_layout in REPLICATED:
        for targets in shards:
            with ExitStack() as held:
                require_replicas([held.enter_context(_server(target)) for target in targets])
    if settings.clickhouse_layout in SHARDED:
        with _server(settings.clickhouse_target()) as server:
            require_cluster(server, settings.clickhouse_cluster, len(shards))


def _server(target: ClickHouseTarget) -> ClickHouse:
    """A client that does not need the database of `target` to be there."""
    return ClickHouse(replace(target, database="default"))
