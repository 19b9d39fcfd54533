"""Claims as rows of a real ZooKeeper, shared by three engine processes as replicas of a shard share them.

The claims' table and every statement are those of the replicated layout. The holds are in an ordinary table: a
ReplicatedMergeTree stays read-only in this engine, so quorum and `system.replicas` are not in these tests.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from steptrail.projections.clickhouse.agreement import require_replicas, require_same_tables
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import ClaimLost, QueryError, SchemaMismatch
from steptrail.projections.clickhouse.layouts import CLAIMS
from steptrail.projections.delivery.ledger import Claims, Ledger
from steptrail.schemas.errors import InfrastructureError
from support.effort import ONLY_IN_TEST_ALL
from support.keeper_claims import DATABASE, History, Replicas, claims_table, replicas, store_of
from support.waiting import PATIENCE_S, until
from support.zookeeper import KeeperEngine, ZooKeeper

pytestmark = ONLY_IN_TEST_ALL

__all__ = ["replicas"]


def holds(store: ClickHouse, ledger: Ledger, claims: Claims, partition: int) -> bool:
    """Whether a statement on this replica would write under these claims."""
    condition = ledger.holds(claims, [partition], "part")
    sql = f"SELECT count() FROM (SELECT {partition} AS part) WHERE {condition}"
    return bool(store.query(sql, ledger.key)[0][0])


def holders(replicas: Replicas, topic_id: str, made: Sequence[Claims], partition: int) -> list[list[Claims]]:
    """For each replica those of `made` that it lets write."""
    return [
        [
            claims
            for claims in made
            if partition in claims and holds(store, replicas.ledger(number, topic_id), claims, partition)
        ]
        for number, store in enumerate(replicas.stores)
    ]


def holders_on(
    replicas: Replicas, numbers: Sequence[int], topic_id: str, claims: Claims, partition: int
) -> list[bool]:
    """Whether each of these replicas lets statements under `claims` write."""
    return [
        holds(replicas.stores[number], replicas.ledger(number, topic_id), claims, partition)
        for number in numbers
    ]


def standing_epoch(replicas: Replicas, topic_id: str, partition: int) -> int:
    """The epoch of the claim that stands, as the first replica has it; 0 without one."""
    standing = replicas.ledger(0, topic_id).greatest([partition])
    return standing[partition].epoch if standing else 0


def answers(ledger: Ledger, partition: int) -> bool:
    """Whether Keeper can be read through the ledger's replica."""
    try:
        return bool(ledger.greatest([partition]))
    except InfrastructureError:
        return False


def end_statements(store: ClickHouse) -> None:
    """Kill what consumers run on a replica, if it is there."""
    with contextlib.suppress(InfrastructureError):
        store.command("KILL QUERY WHERE startsWith(Settings['log_comment'], 'steptrail/') SYNC")


@contextmanager
def slow_statement(
    replicas: Replicas, number: int, topic_id: str, partitions: Sequence[int]
) -> Iterator[None]:
    """A statement of somebody else that runs on a replica until it is killed, or the engine."""
    ledger = replicas.ledger(number, topic_id)
    sql = "INSERT INTO nothing SELECT sleepEachRow(1) FROM numbers(300) SETTINGS max_block_size = 1"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ledger.write, sql, partitions)
        try:
            until(lambda: ledger.predecessors(partitions) == 1, "slow statement")
            yield
        finally:
            end_statements(replicas.stores[number])
        with pytest.raises((InfrastructureError, QueryError)):
            running.result(PATIENCE_S)


@contextmanager
def claiming(
    replicas: Replicas, number: int, topic_id: str, partitions: Sequence[int]
) -> Iterator[list[Claims]]:
    """Claims meanwhile; the list has the claims once they may be used."""
    claimed: list[Claims] = []
    thread = threading.Thread(
        target=lambda: claimed.append(replicas.ledger(number, topic_id).claim(partitions)), daemon=True
    )
    thread.start()
    yield claimed
    thread.join(PATIENCE_S)


def test_the_claims_of_a_shard_have_a_path_of_their_own(replicas: Replicas) -> None:
    """KeeperMap does not complete macros in its path: `{shard}` would be the same path in every shard."""
    sql = f"SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = '{CLAIMS}'"
    for store in replicas.stores:
        [(engine,)] = store.query(sql)
        assert engine.startswith(f"KeeperMap('/steptrail/{DATABASE}/{CLAIMS}/7', ")


def test_replicas_of_one_shard_agree(replicas: Replicas) -> None:
    """Each has a name of its own, and the claims are the same rows."""
    require_replicas(replicas.stores)
    with pytest.raises(SchemaMismatch, match=r"macro `replica` is engine-0 on both.*Give each server a name"):
        require_replicas([replicas.stores[0], store_of(replicas.engines[0])])
    with store_of(replicas.engines[2], "another") as other:
        other.create_database()
        other.command(claims_table("another"))
        with pytest.raises(SchemaMismatch, match=r"not the same rows of Keeper: KeeperMap\(.*Put it back"):
            require_same_tables([replicas.stores[0], other])


def test_of_ten_who_claim_at_once_one_holds(replicas: Replicas) -> None:
    """On every replica the same one, whether a claim stood before or not; the others learn it or are refused."""
    for _ in range(5):
        topic_id = uuid.uuid4().hex
        for _ in range(2):  # the first claims of all, then such as take the place of others
            together = threading.Barrier(10)

            def claim(
                number: int, topic_id: str = topic_id, together: threading.Barrier = together
            ) -> Claims:
                ledger = replicas.ledger(number % 3, topic_id)
                together.wait(PATIENCE_S)
                try:
                    return ledger.claim([0, 1])
                except InfrastructureError:  # lost while it was fenced, or another made the same row first
                    return {}

            with ThreadPoolExecutor(10) as pool:
                made = list(pool.map(claim, range(10)))
            for partition in (0, 1):
                believed = holders(replicas, topic_id, made, partition)
                assert believed[0] == believed[1] == believed[2]
                assert len(believed[0]) == 1


def test_a_claim_takes_the_place_of_the_one_before(replicas: Replicas) -> None:
    """Made on one replica, it ends the one that was made on another; Keeper holds one row for a partition."""
    topic_id = uuid.uuid4().hex
    first, second = replicas.ledger(0, topic_id), replicas.ledger(1, topic_id)
    mine = first.claim([3])
    assert holders(replicas, topic_id, [mine], 3) == [[mine]] * 3
    theirs = second.claim([3])
    assert holders(replicas, topic_id, [mine, theirs], 3) == [[theirs]] * 3
    assert theirs[3].epoch == mine[3].epoch + 1
    assert first.close(mine) == set()
    assert second.close(theirs) == {3}
    sql = f"SELECT count() FROM {CLAIMS} WHERE topic_id = {{topic_id:String}} AND partition = 3"
    assert replicas.stores[2].query(sql, first.key) == [(1,)]


def test_a_claim_waits_for_statements_on_every_replica(replicas: Replicas) -> None:
    """A predecessor's statement on another replica holds it up until it has ended."""
    topic_id = uuid.uuid4().hex
    with slow_statement(replicas, 1, topic_id, [2]), claiming(replicas, 0, topic_id, [2]) as claimed:
        until(lambda: standing_epoch(replicas, topic_id, 2) == 1, "claim")
        until(lambda: replicas.ledger(1, topic_id).predecessors([2]) == 1, "slow statement, still")
        assert not claimed
        end_statements(replicas.stores[1])
        until(lambda: claimed, "claim after the statement")
    assert set(claimed[0]) == {2}


def test_a_killed_engines_claim_is_taken_over(replicas: Replicas, caplog: pytest.LogCaptureFixture) -> None:
    """While nothing says that its statements cannot commit the claim waits, and says for whom; then it stands."""
    topic_id = uuid.uuid4().hex
    theirs = replicas.ledger(1, topic_id).claim([5])
    with slow_statement(replicas, 1, topic_id, [5]):
        replicas.engines[1].kill()
    try:
        with claiming(replicas, 0, topic_id, [5]) as claimed:
            until(lambda: standing_epoch(replicas, topic_id, 5) == 2, "claim")
            assert holders_on(replicas, (0, 2), topic_id, theirs, 5) == [False, False]
            address = replicas.stores[1].address
            until(
                lambda: f"a claim waits for {address}, which does not answer" in caplog.text,
                "line of the log",
            )
            assert "make it reachable, or stop it" in caplog.text
            assert not claimed
            replicas.engines[1].start()
            until(lambda: claimed, "claim after the engine came back")
    finally:
        if replicas.engines[1].is_down:
            replicas.engines[1].start()
    assert holders(replicas, topic_id, [theirs, claimed[0]], 5) == [[claimed[0]]] * 3


def test_a_claim_that_is_taken_while_it_waits_is_given_up(replicas: Replicas) -> None:
    """Its own replica had returned it already; the others never will."""
    topic_id = uuid.uuid4().hex
    refused: list[ClaimLost] = []

    def claim() -> None:
        try:
            replicas.ledger(0, topic_id).claim([6])
        except ClaimLost as lost:
            refused.append(lost)

    with slow_statement(replicas, 1, topic_id, [6]):
        thread = threading.Thread(target=claim, daemon=True)
        thread.start()
        until(lambda: standing_epoch(replicas, topic_id, 6) == 1, "claim")
        replicas.ledger(2, topic_id, fenced=False).claim([6])
        until(lambda: refused, "refusal")
        thread.join(PATIENCE_S)


def test_without_zookeeper_nobody_holds(replicas: Replicas) -> None:
    """A statement under a claim raises and writes nothing; started again after kill -9, ZooKeeper has the claim."""
    topic_id = uuid.uuid4().hex
    ledger = replicas.ledger(2, topic_id)
    claims = ledger.claim([4])
    sql = f"INSERT INTO written SELECT 4, part FROM (SELECT 4 AS part) WHERE {ledger.holds(claims, [4], 'part')}"
    replicas.zookeeper.kill()
    try:
        with pytest.raises(InfrastructureError):
            ledger.write(sql, [4])
        with pytest.raises(InfrastructureError):
            replicas.ledger(0, topic_id).claim([4])
    finally:
        replicas.zookeeper.start()
    assert replicas.stores[2].query("SELECT count() FROM written WHERE part = 4") == [(0,)]
    until(lambda: answers(ledger, 4), "answer")
    ledger.write(sql, [4])
    assert replicas.stores[2].query("SELECT count() FROM written WHERE part = 4") == [(1,)]


def test_who_was_outclaimed_writes_nothing(replicas: Replicas) -> None:
    """Whoever claims on whichever engine, while engines and ZooKeeper are killed with -9 and started again."""

    def restart(which: KeeperEngine | ZooKeeper) -> Callable[[], None]:
        def killed_and_started() -> None:
            which.kill()
            which.start()

        return killed_and_started

    faults = [restart(which) for which in (replicas.engines[1], replicas.zookeeper, replicas.engines[2])]
    history = History(replicas, guarded=True)
    with history.going_on():
        for fault in faults:
            history.wait_won(1)
            fault()
        history.wait_won(2)
    assert history.rows()
    assert history.wrong() == []


def test_without_the_claim_in_each_statement_it_would(replicas: Replicas) -> None:
    """The test above can fail."""
    history = History(replicas, guarded=False)
    with history.going_on():
        until(lambda: history.errors or history.wrong(), "row of somebody who was outclaimed")
    assert history.wrong()
