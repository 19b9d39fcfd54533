"""The statements of every layout: the engine parses each, and the layout that a database was made for is kept."""

from __future__ import annotations

import pytest

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import SchemaMismatch
from steptrail.projections.clickhouse.layouts import Reading, Replica
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.projections.cluster.databases import databases, statements
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
            for sql in statements(database):
                [(printed,)] = clickhouse.query("SELECT formatQuery({sql:String})", {"sql": sql})
                assert printed


def test_a_store_of_another_layout_is_refused(engine: EngineServer) -> None:
    """Nothing is changed in it, whatever layout the settings say now."""
    with store(engine, "of_one") as clickhouse:
        migrate(clickhouse, to=1)
        for rendering in (Replica("of_one"), Reading("of_one_local", "c", frozenset())):
            with pytest.raises(SchemaMismatch, match="was made of tables of a single server"):
                migrate(clickhouse, rendering=rendering)
        assert len(clickhouse.query("SELECT version FROM schema_migrations")) == 1
