"""Two engine servers as two shards, and what is in both."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.projections.clickhouse.shards import Shards, connect_shards
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import ensure_topics
from support.engine import EngineServer, running_engine
from support.stack import Stack, _drop_topics


@pytest.fixture(scope="session")
def second_engine() -> Iterator[EngineServer]:
    """A store beside the stack's."""
    folder = Path(tempfile.mkdtemp(prefix="steptrail-shard-"))
    try:
        with running_engine(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def two_shards(stack: Stack, second: EngineServer, **values: Any) -> Iterator[Settings]:
    """Settings of a sharded layout with databases of its own on both engines, topics and tables made."""
    name = f"test_{secrets.token_hex(5)}"
    servers = [
        urlsplit(stack.clickhouse_url)._replace(path=f"/{name}_local").geturl(),
        f"http://default:{second.password}@127.0.0.1:{second.port}/{name}_local",
    ]
    settings = Settings(
        kafka=stack.kafka,
        clickhouse=stack.with_database(name),
        clickhouse_layout="sharded",
        clickhouse_servers=",".join(servers),
        topic_prefix=name,
        **values,
    )
    with connect_shards(settings) as shards:
        try:
            for store in shards.stores:
                migrate(store)
                stop_merges(store)
            ensure_topics(settings)
            yield settings
        finally:
            _drop_topics(settings)
            for store in shards.stores:
                store.command(f"DROP DATABASE IF EXISTS `{name}_local` SYNC")


def stop_merges(store: ClickHouse) -> None:
    """No duplicate is merged away, but mutations run, which `SYSTEM STOP MERGES` would stop, too."""
    sizes = ("max_bytes_to_merge_at_max_space_in_pool", "max_bytes_to_merge_at_min_space_in_pool")
    store.command(f"ALTER TABLE steps MODIFY SETTING {', '.join(f'{name} = 1' for name in sizes)}")


def of_shards(settings: Settings, *numbers: int) -> Settings:
    """The same settings with these shards alone, in this order."""
    assert settings.clickhouse_servers is not None
    servers = settings.clickhouse_servers.get_secret_value().split(",")
    return settings.with_values(clickhouse_servers=",".join(servers[number] for number in numbers))


def rows(store: ClickHouse, table: str = "steps") -> list[tuple[int, int]]:
    """Partition and offset of every raw row of a shard, in order."""
    sql = f"SELECT kafka_partition, kafka_offset FROM {table} ORDER BY 1, 2"
    return [(int(part), int(offset)) for part, offset in store.query(sql)]


def all_rows(shards: Shards, table: str = "steps") -> list[tuple[int, int]]:
    """The same of all shards together: a record in two of them stands here twice."""
    return sorted(row for store in shards.stores for row in rows(store, table))
