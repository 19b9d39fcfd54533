"""Claims as rows of a real ZooKeeper, shared by several engine processes as replicas of a shard share them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.layouts import CLAIMS, Replica
from steptrail.projections.clickhouse.migrate import migrations
from steptrail.projections.delivery.ledger import Claims, Ledger
from steptrail.projections.delivery.replicas import Fence
from steptrail.schemas.configuration.settings import Settings
from support.waiting import PATIENCE_S, until
from support.zookeeper import engines_with_keeper

DATABASE = "replicated"


@pytest.fixture(scope="module")
def replicas() -> Iterator[list[ClickHouse]]:
    """Two engines with the claims of a replicated layout; a ReplicatedMergeTree stays read-only in this engine."""
    with engines_with_keeper(2) as engines:
        stores = []
        for engine in engines:
            url = f"http://default:{engine.password}@127.0.0.1:{engine.port}/{DATABASE}"
            stores.append(ClickHouse(Settings(kafka="k:1", clickhouse=url).clickhouse_target()))
            stores[-1].create_database()
            for statement in migrations()[0].statements:
                [rendered] = Replica(DATABASE).render(statement)
                if CLAIMS in rendered.splitlines()[0]:
                    stores[-1].command(rendered)
        yield stores
        for store in stores:
            store.close()


def holds(store: ClickHouse, ledger: Ledger, claims: Claims, partition: int) -> bool:
    """Whether a statement on this replica would write under these claims."""
    condition = ledger.holds(claims, [partition], "part")
    [(count,)] = store.query(
        f"SELECT count() FROM (SELECT {partition} AS part) WHERE {condition}", ledger.key
    )
    return bool(count)


def test_of_racing_claims_one_stands_on_every_replica(replicas: list[ClickHouse]) -> None:
    """Eight claimers on two engine processes, again and again: whoever stands there holds, and nobody else does."""
    key: Any = {"projection": "steps", "topic": "t", "topic_id": uuid.uuid4().hex}
    made: list[Claims] = []
    failures: list[BaseException] = []

    def claim_again_and_again(store: ClickHouse) -> None:
        try:
            ledger = Ledger(store, **key)
            made.extend(ledger.claim([0, 1]) for _ in range(5))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=claim_again_and_again, args=(replicas[n % 2],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert not failures, failures
    ledgers = [Ledger(store, **key) for store in replicas]
    last = ledgers[0].claim([7])  # a write in this session: what it reads next is no older
    assert set(last) == {7}
    ledgers[1].claim([8])
    assert ledgers[0].greatest([0, 1]) == ledgers[1].greatest([0, 1])
    for store, ledger in zip(replicas, ledgers, strict=True):
        standing = ledger.greatest([0, 1])
        assert set(standing) == {0, 1}
        for part, claim in standing.items():
            believed = [claims for claims in made if part in claims and holds(store, ledger, claims, part)]
            assert all(claims[part] == claim for claims in believed)
            assert len(believed) <= 1
            assert holds(store, ledger, {part: claim}, part)


def test_a_claim_takes_the_place_of_the_one_before(replicas: list[ClickHouse]) -> None:
    """Made on one replica, it ends the one that was made on the other; Keeper holds one row for a partition."""
    key: Any = {"projection": "steps", "topic": "t", "topic_id": uuid.uuid4().hex}
    first, second = (Ledger(store, **key) for store in replicas)
    mine = first.claim([3])
    assert holds(replicas[0], first, mine, 3)
    theirs = second.claim([3])
    first.claim([9])
    assert not holds(replicas[0], first, mine, 3)
    assert holds(replicas[0], first, theirs, 3)
    assert theirs[3].epoch == mine[3].epoch + 1
    assert first.close(mine) == set()
    assert second.close(theirs) == {3}
    sql = f"SELECT count() FROM {CLAIMS} WHERE topic_id = {{topic_id:String}} AND partition = 3"
    assert replicas[1].query(sql, key) == [(1,)]


def test_a_claim_waits_for_statements_on_every_replica(replicas: list[ClickHouse]) -> None:
    """A predecessor's statement on the other replica holds up the claim; without one it is used at once."""
    key: Any = {"projection": "steps", "topic": "t", "topic_id": uuid.uuid4().hex}
    slow = Ledger(replicas[1], **key)
    ledger = Ledger(replicas[0], **key, fence=Fence(replicas, replicas[0], ()))
    assert set(ledger.claim([2])) == {2}
    replicas[1].command("CREATE TABLE IF NOT EXISTS nothing (n UInt8) ENGINE = Null")
    sql = "INSERT INTO nothing SELECT sleepEachRow(1) FROM numbers(300) SETTINGS max_block_size = 1"
    ended: list[BaseException] = []

    def write() -> None:
        try:
            slow.write(sql, [2])
        except BaseException as error:  # it is killed
            ended.append(error)

    statement = threading.Thread(target=write)
    statement.start()
    until(lambda: slow.predecessors([2]) == 1, "slow statement")
    claimed: list[Claims] = []
    claiming = threading.Thread(target=lambda: claimed.append(ledger.claim([2])))
    claiming.start()
    until(lambda: slow.greatest([2])[2].epoch == 2, "claim")
    assert not claimed
    kill = "KILL QUERY WHERE startsWith(Settings['log_comment'], 'steptrail/') SYNC"
    replicas[1].command(kill)
    for thread in (statement, claiming):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert ended
    assert set(claimed[0]) == {2}


def test_a_silent_replica_is_waited_for_while_nothing_says_that_it_is_fenced(
    replicas: list[ClickHouse],
) -> None:
    """Its statements could still commit."""
    key: Any = {"projection": "steps", "topic": "t", "topic_id": uuid.uuid4().hex}
    away = ClickHouse(replace(replicas[1].target, port=1))
    fence = Fence([replicas[0], away], replicas[0], ())
    asked: list[float] = []

    def give_up(seconds: float) -> None:
        asked.append(seconds)
        if len(asked) == 5:
            raise TimeoutError

    claims = Ledger(replicas[0], **key).claim([1])
    with pytest.raises(TimeoutError):
        fence(Ledger(replicas[0], **key), claims, sleep=give_up)
