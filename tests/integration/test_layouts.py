"""The statements of every layout: the engine parses each, and the layout that a database was made for is kept."""

from __future__ import annotations

import pytest

from steptrail.projections.clickhouse.agreement import require_replicas, require_same_tables
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import SchemaMismatch
from steptrail.projections.clickhouse.layouts import Reading, Replica
from steptrail.projections.clickhouse.migrate import database_statements, migrate
from steptrail.projections.cluster.databases import databases, statements
from steptrail.projections.cluster.preflight import require_fit
from steptrail.schemas.configuration.settings import Settings
from support.engine import EngineServer, engine
from support.layouts import LAYOUTS

__all__ = ["engine"]


def store(engine: EngineServer, database: str) -> ClickHouse:
    url = f"http://default:{engine.password}@127.0.0.1:{engine.port}/{database}"
    return ClickHouse(Settings(kafka="127.0.0.1:1", clickhouse=url).clickhouse_target())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_engine_parses_every_statement(engine: EngineServer, layout: str) -> None:
    """Of each database of each layout, and one statement each."""
    with store(engine, "steptrail") as clickhouse:
        for database in databases(LAYOUTS[layout]):
            found = list(statements(database))
            assert found
            refused = "SELECT arrayJoin({found:Array(String)}) AS sql WHERE empty(ifNull(formatQueryOrNull(sql), ''))"
            assert clickhouse.query(refused, {"found": found}) == []


def test_a_store_of_another_layout_is_refused(engine: EngineServer) -> None:
    """Nothing is changed in it, whatever layout the settings say now."""
    with store(engine, "of_one") as clickhouse:
        migrate(clickhouse, to=1)
        for rendering in (Replica("of_one"), Reading("of_one_local", "c", frozenset())):
            with pytest.raises(SchemaMismatch, match="was made of tables of a single server"):
                migrate(clickhouse, rendering=rendering)
        assert len(clickhouse.query("SELECT version FROM schema_migrations")) == 1


def test_replicas_that_do_not_answer_are_left_out() -> None:
    """One that is away cannot be compared; nothing else is known of it."""
    away = ClickHouse(Settings(kafka="k:1", clickhouse="http://127.0.0.1:1/a").clickhouse_target())
    require_replicas([away, away])
    require_same_tables([away, away])


def test_a_cluster_that_does_not_exist_is_refused_before_anything_is_made(engine: EngineServer) -> None:
    """With the clusters that there are, and the setting; neither the shard's database is made nor that for reading."""
    url = f"http://default:{engine.password}@127.0.0.1:{engine.port}"
    settings = Settings(
        kafka="k:1",
        clickhouse=f"{url}/of_none",
        clickhouse_layout="sharded",
        clickhouse_servers=f"{url}/of_none_local",
        clickhouse_cluster="nowhere",
    )
    with pytest.raises(SchemaMismatch, match=r"no cluster 'nowhere'.*\n?.*STEPTRAIL_CLICKHOUSE_CLUSTER"):
        require_fit(settings)
    with store(engine, "default") as clickhouse:
        sql = "SELECT count() FROM system.databases WHERE startsWith(name, 'of_none')"
        assert clickhouse.query(sql) == [(0,)]


def test_no_database_is_changed_where_one_of_them_is_refused(engine: EngineServer) -> None:
    """A newer one for reading: the shard, which would be migrated first, is not even made."""
    url = f"http://default:{engine.password}@127.0.0.1:{engine.port}"
    settings = Settings(
        kafka="k:1",
        clickhouse=f"{url}/of_newer",
        clickhouse_layout="sharded",
        clickhouse_servers=f"{url}/of_newer_local",
    )
    with store(engine, "of_newer") as clickhouse:
        clickhouse.create_database()
        for statement in database_statements("of_newer"):
            clickhouse.command(statement)
        clickhouse.command("INSERT INTO schema_migrations (version, name, checksum) SELECT 9999, 'later', ''")
        with pytest.raises(SchemaMismatch, match=r"9999.*upgrade steptrail"):
            require_fit(settings)
        assert clickhouse.query("SELECT count() FROM system.databases WHERE name = 'of_newer_local'") == [
            (0,)
        ]
