"""SQLAlchemy, by the dialect of clickhouse-connect, against the engine server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, MetaData, Table, create_engine, func, insert, inspect, select, text
from sqlalchemy.exc import DatabaseError

from support.engine import EngineServer, engine, table

__all__ = ["engine", "table"]


def url(server: EngineServer, user: str, password: str) -> str:
    return f"clickhousedb://{user}:{password}@127.0.0.1:{server.port}/steptrail"


@pytest.fixture
def owner(engine: EngineServer) -> Iterator[Engine]:
    found = create_engine(url(engine, "default", engine.password))
    yield found
    found.dispose()


@pytest.fixture
def reader(engine: EngineServer) -> Iterator[Engine]:
    found = create_engine(url(engine, "reader", engine.reader_password))
    yield found
    found.dispose()


def test_tables_and_rows(owner: Engine, reader: Engine, table: str) -> None:
    """Tables are made, filled, found by reflection and asked with expressions; a reader reads them, too."""
    with owner.begin() as connection:
        connection.execute(
            text(f"CREATE TABLE {table} (n UInt64, s Nullable(String)) ENGINE = MergeTree ORDER BY n")
        )
    rows = Table(table, MetaData(), autoload_with=owner)
    assert [column.name for column in rows.columns] == ["n", "s"]
    with owner.begin() as connection:
        connection.execute(insert(rows), [{"n": n, "s": None if n == 2 else f"it's {n}"} for n in range(5)])
    for login in (owner, reader):
        with login.connect() as connection:
            asked = select(rows.c.n, rows.c.s).where(rows.c.n > 1).order_by(rows.c.n.desc()).limit(2)
            assert [tuple(row) for row in connection.execute(asked)] == [(4, "it's 4"), (3, "it's 3")]
            assert (
                connection.execute(select(func.count()).select_from(rows).where(rows.c.s.is_(None))).scalar()
                == 1
            )
            assert connection.execute(text("SELECT :a || 'x'"), {"a": "it's"}).scalar() == "it'sx"
        assert table in inspect(login).get_table_names("steptrail")


def test_faults(owner: Engine, reader: Engine, table: str) -> None:
    """A fault is SQLAlchemy's own exception with ClickHouse's text; a reader's write is one."""
    with owner.connect() as connection, pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        connection.execute(text("SELECT * FROM nothere"))
    with reader.connect() as connection, pytest.raises(DatabaseError, match="readonly mode"):
        connection.execute(text(f"CREATE TABLE {table} (n UInt8) ENGINE = Memory"))
