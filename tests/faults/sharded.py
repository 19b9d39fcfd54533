"""A row's tables in two shards, on two engines; the oracle judges what is in both together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from faults.load import Load, loading
from faults.row import Run
from faults.workspace import NO_MERGES, Workspace, working, workspace_name
from faults.world import Server, World
from steptrail.projections.clickhouse.layouts import CLAIMS
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.projections.clickhouse.shards import Shards, connect_shards
from steptrail.projections.cluster.databases import distributed_tables


class ShardedWorkspace(Workspace):
    """Topics of one row, and its tables on the engines at `urls`; `store` is for the oracle alone."""

    def __init__(self, world: World, name: str, urls: tuple[str, str], **values: Any) -> None:
        servers = [f"{url}/{name}_local" for url in urls]
        super().__init__(
            world, name, urls[0], clickhouse_layout="sharded", clickhouse_servers=",".join(servers), **values
        )
        self._servers = servers
        self.shards: Shards = connect_shards(self.settings, timeout=120)

    def create(self) -> None:
        """Make topics and tables; rows of `steps` are never merged, but mutations run."""
        super().create()
        for store in self.shards.stores:
            migrate(store)
            store.command(f"ALTER TABLE steps MODIFY SETTING {NO_MERGES}")

    def drop(self) -> None:
        """Delete them."""
        for store in self.shards.stores:
            store.command(f"DROP DATABASE IF EXISTS `{store.database}` SYNC")
        self.shards.close()
        super().drop()

    def servers(self, count: int) -> str:
        """The setting that names the first so many shards."""
        return ",".join(self._servers[:count])

    def environ(self, **more: str) -> dict[str, str]:
        """The environment of a process that works on both shards."""
        layout = {"STEPTRAIL_CLICKHOUSE_LAYOUT": "sharded", "STEPTRAIL_CLICKHOUSE_SERVERS": self.servers(2)}
        return super().environ(**{**layout, **more})

    def rows(self) -> int:
        """Raw rows in `steps` of both shards."""
        return sum(int(store.query("SELECT count() FROM steps")[0][0]) for store in self.shards.stores)

    def high_water(self) -> dict[int, int]:
        """The offset after the last one in the ledger of any shard, by partition."""
        found: dict[int, int] = {}
        for store in self.shards.stores:
            for partition, offset in self.high_water_of(store).items():
                found[partition] = max(offset, found.get(partition, 0))
        return found

    def gather(self) -> None:
        """Copy every row of both shards into the oracle's store."""
        for table in sorted(distributed_tables() - {CLAIMS}):
            self.store.command(f"TRUNCATE TABLE {table}")
            for store in self.shards.stores:
                if rows := b"".join(store.stream(f"SELECT * FROM {table} FORMAT Native")):
                    self.store.command(f"INSERT INTO {table} FORMAT Native", data=rows)


@contextmanager
def sharded(run: Run) -> Iterator[tuple[ShardedWorkspace, Load, Server]]:
    """A workspace on two shards, an empty load, and the engine that has the second shard."""
    name = workspace_name(run.number)
    with run.world.other_engine(run.world.folder / f"shard-{name}") as (engine, url):
        workspace = ShardedWorkspace(run.world, name, (run.world.engine_url, url))
        with working(workspace), loading(workspace) as load:
            yield workspace, load, engine
