"""Replicas that share claims through a real ZooKeeper, and histories of who claims and writes on them."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.layouts import CLAIMS, Replica
from steptrail.projections.clickhouse.migrate import migrations
from steptrail.projections.clickhouse.shards import quorum_settings
from steptrail.projections.delivery.ledger import Claims, Ledger
from steptrail.projections.delivery.replicas import Fence
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import InfrastructureError
from support.waiting import PATIENCE_S, until
from support.zookeeper import KeeperEngine, ZooKeeper, engines_with_keeper

DATABASE = "replicated"


@dataclass(frozen=True)
class Replicas:
    """Three engine processes, ZooKeeper, and a client for each engine."""

    zookeeper: ZooKeeper
    engines: Sequence[KeeperEngine]
    stores: Sequence[ClickHouse]

    def ledger(self, number: int, topic_id: str, *, fenced: bool = True) -> Ledger:
        """The ledger through one replica, behind the fence over all of them."""
        store = self.stores[number]
        fence = Fence(self.stores, store, ()) if fenced else None
        return Ledger(store, projection="steps", topic="t", topic_id=topic_id, fence=fence)


@pytest.fixture(scope="module")
def replicas() -> Iterator[Replicas]:
    with engines_with_keeper(3) as (zookeeper, engines):
        stores = [store_of(engine) for engine in engines]
        for store in stores:
            store.create_database()
            store.command(claims_table(DATABASE))
            store.command(creating("projection_holds"))
            store.command(
                "CREATE TABLE written (statement UInt64, part Int32) ENGINE = MergeTree ORDER BY ()"
            )
            store.command("CREATE TABLE nothing (n UInt8) ENGINE = Null")
        yield Replicas(zookeeper, engines, stores)
        for store in stores:
            store.close()


def creating(table: str) -> str:
    """The statement of the migrations that makes a table."""
    head = f"CREATE TABLE IF NOT EXISTS {table}"
    statements = (statement for migration in migrations() for statement in migration.statements)
    [found] = [statement for statement in statements if statement.splitlines()[0] == head]
    return found


def claims_table(database: str) -> str:
    """The same for the claims of a replica."""
    [rendered] = Replica(database).render(creating(CLAIMS))
    return rendered


def store_of(engine: KeeperEngine, database: str = DATABASE) -> ClickHouse:
    """A client with the settings that projectors have; it asks Keeper again less often than by default."""
    target = Settings(kafka="k:1", clickhouse=engine.url(database)).clickhouse_target()
    return ClickHouse(target, settings={**quorum_settings(3), "keeper_max_retries": 3})


@dataclass
class History:
    """What claimers did, in the order of the numbers that they drew: each draws one before and after it claims."""

    replicas: Replicas
    guarded: bool
    topic_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    won: list[tuple[int, int, Claims]] = field(default_factory=list)
    statements: dict[int, tuple[int, Claims]] = field(default_factory=dict)
    errors: list[BaseException] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def claimer(self, number: int) -> None:
        """Claim and write, again and again; after any fault claim anew, as a projector does."""
        ledger, pause = self.replicas.ledger(number % 3, self.topic_id), random.Random(number)
        try:
            while not self.over.is_set():
                with contextlib.suppress(InfrastructureError):
                    self._claim_and_write(ledger, pause)
                time.sleep(pause.uniform(0, 1.5))
        except BaseException as error:
            self.errors.append(error)

    def _claim_and_write(self, ledger: Ledger, pause: random.Random) -> None:
        begun = next(self._numbers)
        claims = ledger.claim([0, 1])
        returned = next(self._numbers)
        if not claims:
            return
        self.won.append((begun, returned, claims))
        for _ in range(25):
            number = next(self._numbers)
            self.statements[number] = returned, claims
            condition = ledger.holds(claims, [0, 1], "part") if self.guarded else "1"
            source = f"SELECT {number}, part FROM (SELECT arrayJoin([0, 1]) AS part) WHERE {condition}"
            ledger.write(f"INSERT INTO written {source}", [0, 1])
            time.sleep(pause.uniform(0, 0.05))

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """A claimer on each replica."""
        for store in self.replicas.stores:
            store.command("TRUNCATE TABLE written")
        threads = [threading.Thread(target=self.claimer, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in threads)
        assert not self.errors, self.errors

    def wait_won(self, more: int) -> None:
        """Wait until so many claims more were won."""
        wanted = len(self.won) + more
        until(lambda: self.errors or len(self.won) >= wanted, f"{wanted} claims")

    def rows(self) -> list[tuple[int, int]]:
        """Statement and partition of all that was written."""
        sql = "SELECT statement, part FROM written"
        return [(int(n), int(part)) for store in self.replicas.stores for n, part in store.query(sql)]

    def wrong(self) -> list[tuple[int, int]]:
        """Rows of statements that began after a claim was won that had itself begun after theirs was won."""
        return [
            (number, part)
            for number, part in self.rows()
            for returned, _ in [self.statements[number]]
            if any(part in other and begun > returned and ended < number for begun, ended, other in self.won)
        ]
