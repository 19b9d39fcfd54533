"""The ledger's promise: whatever happens between any two steps, each record arrives exactly once."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Iterator

import pytest

from steptrail.projections.clickhouse import ClickHouse, connect
from steptrail.projections.errors import TopicRecreated
from steptrail.projections.migrate import migrate
from steptrail.projections.projection import Projection
from steptrail.projections.step_events import STEP_EVENTS
from steptrail.schemas.settings import Settings
from support.histories import Commits, Faults, FaultyClickHouse, Log, Writer, finish, make_log
from support.stack import Stack

TOPIC = "steptrail.steps.v1"
HISTORIES = int(os.environ.get("STEPTRAIL_TEST_HISTORIES", "6"))  # 300 and more when the ledger is changed


@pytest.fixture(scope="module")
def store(stack: Stack) -> Iterator[ClickHouse]:
    """A migrated database on the real engine, merges stopped so that no duplicate can be merged away."""
    name = f"ledger_{uuid.uuid4().hex[:10]}"
    settings = Settings(kafka=stack.kafka, clickhouse=stack.with_database(name))
    with connect(settings) as clickhouse:
        migrate(clickhouse)
        clickhouse.command("SYSTEM STOP MERGES steps")
        yield clickhouse
        clickhouse.command(f"DROP DATABASE {name} SYNC")


def check(clickhouse: ClickHouse, topic_id: str, log: Log) -> None:
    """Every record once, nothing else; the ledger ends at the log's end and its batches do not skip a record."""
    expected = sorted((p, record.offset) for p, records in log.items() for record in records)
    rows = clickhouse.query(
        "SELECT kafka_partition, kafka_offset FROM steps WHERE topic_id = {id:String} "
        "ORDER BY kafka_partition, kafka_offset",
        {"id": topic_id},
    )
    assert rows == expected
    for partition, records in log.items():
        covered = clickhouse.query(
            "SELECT first_offset, last_offset FROM projection_ledger WHERE topic_id = {id:String} "
            "AND partition = {p:Int32} ORDER BY first_offset",
            {"id": topic_id, "p": partition},
        )
        for record in records:
            assert any(first <= record.offset <= last for first, last in covered)
        assert max(last for _, last in covered) == records[-1].offset


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_random_histories_write_each_record_once(store: ClickHouse, seed: int) -> None:
    """Racing, freezing, crashing writers with lost replies and slow statements: nothing lost, nothing twice."""
    rng = random.Random(seed)
    log = make_log(rng, partitions=rng.randint(1, 4), records=rng.randint(5, 60))
    topic_id = uuid.uuid4().hex
    rate = rng.choice([0.05, 0.2, 0.4])
    limit = rng.choice([3, 10, 40])
    commits = Commits()

    def projection() -> Projection:
        faulty = FaultyClickHouse(store.target, Faults(random.Random(rng.random()), rate))
        return Projection(faulty, STEP_EVENTS, topic=TOPIC, topic_id=topic_id)

    writers = [
        Writer(projection, random.Random(rng.random()), log, commits, batches=rng.randint(2, 6), limit=limit)
        for _ in range(rng.randint(1, 3))
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=120)
        assert not writer.is_alive()
        assert writer.failure is None, writer.failure
    finish(Projection(store, STEP_EVENTS, topic=TOPIC, topic_id=topic_id), log, commits, rng, limit=limit)
    check(store, topic_id, log)


def test_a_recreated_topic_stops_the_projection(store: ClickHouse) -> None:
    """Offsets of a topic that was deleted and created again are not taken for the old ones."""
    topic = f"topic-{uuid.uuid4().hex}"
    old, new = uuid.uuid4().hex, uuid.uuid4().hex
    Projection(store, STEP_EVENTS, topic=topic, topic_id=old).open([0])
    Projection(store, STEP_EVENTS, topic=topic, topic_id=old).prepare()
    with pytest.raises(TopicRecreated, match=f"--accept-topic {new}"):
        Projection(store, STEP_EVENTS, topic=topic, topic_id=new).prepare()
    Projection(store, STEP_EVENTS, topic=topic, topic_id=new).prepare(accept_recreated=True)
