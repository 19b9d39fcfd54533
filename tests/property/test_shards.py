"""Two shards: whatever meets while partitions move between them, each record is in one of them, once."""

from __future__ import annotations

import os
import random
import threading
import uuid
from collections.abc import Iterator

import pytest

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.projections.clickhouse.shards import Shards
from steptrail.projections.cluster.handover import Placement, hand_over, placements
from steptrail.projections.delivery.sharding import ShardedProjection
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import InfrastructureError
from support.effort import effort
from support.engine import EngineServer
from support.histories import Crash, finish, make_log
from support.ledger_machine import KINDS, STEPS, Fault, Plan, PlannedClickHouse, Topic, Writer, records_of
from support.sharded import second_engine, stop_merges
from support.stack import Stack
from support.waiting import PATIENCE_S

__all__ = ["second_engine"]

HISTORIES = int(os.environ.get("STEPTRAIL_TEST_HISTORIES") or effort(3, 60))


@pytest.fixture(scope="module")
def stores(stack: Stack, second_engine: EngineServer) -> Iterator[list[ClickHouse]]:
    name = f"shards_{uuid.uuid4().hex[:10]}"
    second = f"http://default:{second_engine.password}@127.0.0.1:{second_engine.port}/{name}"
    found = [
        ClickHouse(Settings(kafka=stack.kafka, clickhouse=url).clickhouse_target())
        for url in (stack.with_database(name), second)
    ]
    for store in found:
        migrate(store)
        stop_merges(store)
    yield found
    for store in found:
        store.command(f"DROP DATABASE {name} SYNC")
        store.close()


class Mover(threading.Thread):
    """Somebody who changes the number of shards, now and then dies at it, and forgets what he was at."""

    def __init__(self, stores: list[ClickHouse], topic: Topic, rng: random.Random) -> None:
        super().__init__(daemon=True)
        self._stores, self._topic, self._rng = stores, topic, rng
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            for _ in range(self._rng.randint(1, 3)):
                shards = Shards(self._stores, self._rng.choice([1, 2]))
                try:
                    for placement in of_topic(shards, self._topic):
                        hand_over(shards, placement, at=self._maybe_die)
                except (Crash, InfrastructureError):
                    pass
        except BaseException as error:
            self.failure = error

    def _maybe_die(self, step: str) -> None:
        if self._rng.random() < 0.1:
            raise Crash


def of_topic(shards: Shards, topic: Topic) -> list[Placement]:
    return [each for each in placements(shards) if each.topic_id == topic.topic_id]


def plan(rng: random.Random) -> Plan:
    faults = tuple(
        Fault(rng.choice(STEPS), rng.randint(1, 2), rng.choice(KINDS), rng.choice([0.03, 0.1, 0.3]))
        for _ in range(rng.randint(0, 3))
    )
    owns = frozenset(part for part in range(4) if rng.random() < 0.7) or frozenset({0})
    cuts = tuple(rng.choice([1, 3, 10, 40]) for _ in range(rng.randint(1, 5)))
    return Plan(owns, cuts, rng.choice([2, 5, 65_536]), False, faults)


@pytest.mark.thorough
@pytest.mark.timeout(300 + 20 * HISTORIES)
@pytest.mark.parametrize("seed", range(HISTORIES))
def test_in_every_history_each_record_is_in_one_shard_once(stores: list[ClickHouse], seed: int) -> None:
    """Writers with one shard and with two, slow, frozen, killed, while partitions are handed to and fro."""
    rng = random.Random(seed)
    topic = Topic(make_log(rng, partitions=rng.randint(1, 4), records=rng.randint(5, 40)))

    def projection(connected: list[ClickHouse], used: int) -> ShardedProjection:
        shards = Shards(connected, used)
        return ShardedProjection(
            shards, STEP_EVENTS, topic=f"topic-{topic.topic_id}", topic_id=topic.topic_id
        )

    threads: list[Writer | Mover] = []
    for _ in range(rng.randint(2, 5)):
        if rng.random() < 0.4:
            threads.append(Mover(stores, topic, random.Random(rng.random())))
        else:
            planned = plan(rng)
            connected: list[ClickHouse] = [PlannedClickHouse(store.target, planned) for store in stores]
            projected = projection(connected, rng.choice([1, 2, 2]))
            threads.append(Writer(planned, projected, topic, random.Random(rng.random())))
        threads[-1].start()
        threads[-1].join(rng.choice([0, 0.05, 0.2]))
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "it hangs"
        assert thread.failure is None, f"it failed: {thread.failure!r}"
    shards = Shards(stores)
    for placement in of_topic(shards, topic):
        hand_over(shards, placement)
    finish(projection(stores, 2), topic.log, topic.commits, rng, limit=40)
    sql = "SELECT kafka_partition, kafka_offset FROM steps WHERE topic_id = {id:String}"
    found = [row for store in stores for row in store.query(sql, {"id": topic.topic_id})]
    assert sorted((int(part), int(offset)) for part, offset in found) == sorted(records_of(topic))
    assert all(each.right for each in of_topic(shards, topic))
