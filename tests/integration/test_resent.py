"""Events that were sent again on purpose, on the real engine: each is there once, whatever came before."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.delivery.batch import BatchBuilder
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.event import StepEvent
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import frame_single_object
from support.effort import only_some
from support.projected import T0, event
from support.stack import Stack, new_workspace


@pytest.fixture(scope="module")
def store(stack: Stack) -> Iterator[ClickHouse]:
    """Tables in which no merge hides a duplicate."""
    with new_workspace(stack) as settings, connect(settings) as clickhouse:
        clickhouse.command("SYSTEM STOP MERGES steps")
        yield clickhouse


class Partitions:
    """A topic of its own in the ledger; records go to it in batches, by a writer that can be replaced."""

    def __init__(self, clickhouse: ClickHouse, name: str) -> None:
        self.clickhouse = clickhouse
        self.name = name
        self.log: dict[int, list[tuple[StepEvent, bool]]] = {}
        self.restart()

    def restart(self) -> None:
        """Another consumer takes over."""
        self.writer = Projection(self.clickhouse, STEP_EVENTS, topic=self.name, topic_id=f"{self.name}-id")
        self.at = self.writer.open(range(3))

    def append(self, what: StepEvent, resent: bool = False, partition: int = 0) -> None:
        self.log.setdefault(partition, []).append((what, resent))

    def write(self, at_most: int = 1000) -> None:
        """One batch of what the log has and the ledger has not."""
        builder = BatchBuilder()
        for partition, records in self.log.items():
            start = self.at[partition]
            for offset, (what, resent) in enumerate(records[start : start + at_most], start):
                value = frame_single_object(encode_event(what))
                builder.add(partition, offset, T0 // 1000 + offset, value, resent)
        if builder.spans:
            self.at.update(self.writer.write(builder.build()))

    def rows(self) -> list[tuple[int, int]]:
        sql = (
            "SELECT kafka_partition, kafka_offset FROM steps WHERE topic_id = {id:String} "
            "ORDER BY kafka_partition, kafka_offset"
        )
        return [(p, o) for p, o in self.clickhouse.query(sql, {"id": f"{self.name}-id"})]


@pytest.fixture
def topic(store: ClickHouse, request: pytest.FixtureRequest) -> Partitions:
    return Partitions(store, request.node.name)


def test_original_then_resent(stack: Stack, topic: Partitions) -> None:
    """In batches of their own: the original stays, and what is new goes on."""
    first, other = event(doc_id="a"), event(doc_id="a")
    topic.append(first)
    topic.write()
    topic.append(first, resent=True)
    topic.append(other, resent=True)
    topic.write()
    assert topic.rows() == [(0, 0), (0, 2)]


def test_resent_twice_in_one_batch(stack: Stack, topic: Partitions) -> None:
    """Once, the earlier one."""
    what, other = event(doc_id="b"), event(doc_id="b")
    for each in (what, other, what, other, what):
        topic.append(each, resent=True)
    topic.write()
    assert topic.rows() == [(0, 0), (0, 1)]


@pytest.mark.parametrize("original_first", [True, False])
def test_both_in_one_batch(stack: Stack, topic: Partitions, original_first: bool) -> None:
    """The original, in whichever order they come."""
    what = event(doc_id="c")
    topic.append(what, resent=not original_first)
    topic.append(what, resent=original_first)
    topic.write()
    assert topic.rows() == [(0, 0 if original_first else 1)]


def test_over_restarts(stack: Stack, topic: Partitions) -> None:
    """The next consumer knows from the table what is there, not from what it has seen."""
    what = event(doc_id="d")
    topic.append(what)
    topic.write()
    for _ in range(3):
        topic.restart()
        topic.append(what, resent=True)
        topic.write()
    assert topic.rows() == [(0, 0)]
    assert topic.at[0] == 4


def test_the_same_batch_again(stack: Stack, topic: Partitions) -> None:
    """A batch whose answer was lost, and which is cut elsewhere the second time, adds nothing."""
    what, other = event(doc_id="e"), event(doc_id="e")
    for each, resent in ((what, False), (other, True), (what, True), (other, True)):
        topic.append(each, resent)
    topic.write()
    assert topic.rows() == [(0, 0), (0, 1)]
    topic.clickhouse.command(
        "ALTER TABLE projection_ledger DELETE WHERE topic = {topic:String}",
        {"topic": topic.name},
        settings={"mutations_sync": 2},
    )
    topic.restart()
    assert topic.at[0] == 0
    topic.write(at_most=3)
    topic.write()
    assert topic.rows() == [(0, 0), (0, 1)]


def test_ids_are_compared_within_their_document(stack: Stack, topic: Partitions) -> None:
    """Every event that differs in its id is its own, and unmarked records are never compared."""
    what = event(doc_id="f")
    topic.append(what)
    topic.append(what)  # an emitter that did not get its answer sent it twice: at least once is its promise
    topic.append(event(doc_id="f"), resent=True)
    topic.append(event(doc_id="g"), resent=True, partition=1)
    topic.write()
    assert topic.rows() == [(0, 0), (0, 1), (0, 2), (1, 0)]


def test_months_apart(stack: Stack, topic: Partitions, store: ClickHouse) -> None:
    """The original may stand in another part of the table, by the time at which the broker had it."""
    what = event(doc_id="h")
    topic.append(what)
    topic.write()
    builder = BatchBuilder()
    year = 365 * 86_400_000
    builder.add(0, 1, T0 // 1000 + year, frame_single_object(encode_event(what)), resent=True)
    topic.at.update(topic.writer.write(builder.build()))
    assert topic.rows() == [(0, 0)]


@pytest.mark.parametrize("seed", only_some(0, rest=range(1, 4)))
def test_random_histories(stack: Stack, topic: Partitions, seed: int) -> None:
    """Originals once each at most, resent at random, batches of any size, consumers that come and go."""
    rng = random.Random(seed)
    events = [event(doc_id=f"doc-{n % 7}") for n in range(40)]
    left = {
        e.event_id: rng.random() < 0.6 for e in events
    }  # whether its original is still to come, before the resent
    for _ in range(12):
        for _ in range(rng.randint(0, 15)):
            what = rng.choice(events)
            # All records of an event have one key, hence one partition.
            partition = int(what.doc_id[4:]) % 3
            topic.append(what, not left[what.event_id], partition)
            left[what.event_id] = False
        if rng.random() < 0.3:
            topic.restart()
        topic.write(at_most=rng.choice([1, 3, 50]))
    while any(topic.at[p] < len(records) for p, records in topic.log.items()):
        topic.write()
    sent = {what.event_id for records in topic.log.values() for what, _ in records}
    assert len(topic.rows()) == len(sent)
    stored = topic.clickhouse.query(
        "SELECT count(), uniqExact(event_id) FROM steps WHERE topic_id = {id:String}",
        {"id": f"{topic.name}-id"},
    )
    assert stored == [(len(sent), len(sent))]
