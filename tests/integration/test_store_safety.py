"""What a store must not do to rows: asynchronous inserts, deduplication of blocks, tables of a newer version."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.errors import SchemaMismatch
from steptrail.projections.clickhouse.migrate import migrate, require_current
from steptrail.schemas.configuration.settings import Settings
from support.engine import EngineServer, engine

__all__ = ["engine"]


@pytest.fixture
def store(engine: EngineServer) -> Iterator[ClickHouse]:
    url = f"http://default:{engine.password}@127.0.0.1:{engine.port}/safety"
    with connect(Settings(kafka="127.0.0.1:1", clickhouse=url)) as clickhouse:
        migrate(clickhouse)
        yield clickhouse
        clickhouse.command("DROP DATABASE safety SYNC")


def test_asynchronous_inserts_are_refused(store: ClickHouse) -> None:
    """A table's own setting wins over that of a statement: projector and migration say so, with the remedy."""
    store.command("ALTER TABLE steps MODIFY SETTING async_insert = 1")
    with pytest.raises(SchemaMismatch, match=r"ALTER TABLE safety\.steps MODIFY SETTING async_insert = 0"):
        require_current(store)
    with pytest.raises(SchemaMismatch, match="asynchronous inserts are on for the tables steps"):
        migrate(store)
    store.command("ALTER TABLE safety.steps MODIFY SETTING async_insert = 0")
    require_current(store)


def test_equal_blocks_are_both_kept(store: ClickHouse) -> None:
    """A table that remembers blocks drops no equal one of ours, however it is inserted."""
    store.command("ALTER TABLE topic_gaps MODIFY SETTING non_replicated_deduplication_window = 100")
    row = b'{"partition": 1, "first_offset": 2, "noticed_at": "2026-01-01 00:00:00"}'
    for _ in range(2):
        store.command(
            "INSERT INTO topic_gaps (partition, first_offset, noticed_at) FORMAT JSONEachRow", data=row
        )
        store.command(
            "INSERT INTO topic_gaps (partition, first_offset, noticed_at) "
            "SELECT 1, 2, toDateTime64('2026-01-01 00:00:00', 3, 'UTC') AS at ORDER BY ALL"
        )
    assert store.query("SELECT count() FROM topic_gaps") == [(4,)]


def test_a_store_of_a_newer_version_is_refused(store: ClickHouse) -> None:
    """Neither the projector nor the migration touches tables that it does not know; both say what to upgrade."""
    store.command("INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, 'later', 'x')")
    for refuse in (require_current, migrate):
        with pytest.raises(SchemaMismatch, match=r"is at migration 9999.*upgrade steptrail"):
            refuse(store)
