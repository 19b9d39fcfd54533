"""What health is computed from, on the real engine: every event once, whatever was sent or written twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.delivery.batch import BatchBuilder
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.tables.health_events import HEALTH_EVENTS, LONGEST_MESSAGE
from steptrail.schemas.event import StepEvent
from steptrail.schemas.status import ProcessingStatus as S
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import frame_single_object
from support.projected import T0, event
from support.stack import Stack, new_workspace


@pytest.fixture(scope="module")
def store(stack: Stack) -> Iterator[ClickHouse]:
    with new_workspace(stack) as settings, connect(settings) as clickhouse:
        yield clickhouse


class Topic:
    """A topic of its own in the ledger, written by a writer that can be replaced."""

    def __init__(self, clickhouse: ClickHouse, name: str) -> None:
        self.clickhouse = clickhouse
        self.id = f"{name}-id"
        self.log: dict[int, list[tuple[StepEvent, int]]] = {}
        self.restart()

    def restart(self) -> None:
        self.writer = Projection(self.clickhouse, HEALTH_EVENTS, topic=self.id, topic_id=self.id)
        self.at = self.writer.open(range(3))

    def append(self, what: StepEvent, *, partition: int = 0, at_ms: int = 0) -> None:
        self.log.setdefault(partition, []).append((what, T0 // 1000 + at_ms))

    def write(self, at_most: int = 1000) -> None:
        builder = BatchBuilder()
        for partition, records in self.log.items():
            start = self.at[partition]
            for offset, (what, ms) in enumerate(records[start : start + at_most], start):
                builder.add(partition, offset, ms, frame_single_object(encode_event(what)))
        if builder.spans:
            self.at.update(self.writer.write(builder.build()))

    def rows(self) -> Sequence[tuple[int, int]]:
        sql = "SELECT kafka_partition, kafka_offset FROM health_events WHERE topic_id = {id:String} ORDER BY 1, 2"
        return [(p, o) for p, o in self.clickhouse.query(sql, {"id": self.id})]


@pytest.fixture
def topic(store: ClickHouse, request: pytest.FixtureRequest) -> Topic:
    return Topic(store, request.node.name)


def test_an_event_sent_twice_stands_once(topic: Topic) -> None:
    """In one batch, in a later batch, after a takeover, with or without the header: the first copy is there."""
    first, other = event(), event()
    for what in (first, other, first):
        topic.append(what)
    topic.write()
    topic.append(first, at_ms=60_000)
    topic.write()
    topic.restart()
    topic.append(other, at_ms=3_600_000, partition=1)
    topic.write()
    assert topic.rows() == [(0, 0), (0, 1)]


def test_of_copies_in_one_batch_the_first_by_broker_time_counts(topic: Topic) -> None:
    """Whatever partition it came by."""
    what = event()
    topic.append(what, partition=0, at_ms=20)
    topic.append(what, partition=1, at_ms=10)
    topic.write()
    assert topic.rows() == [(1, 0)]


def test_a_batch_whose_answer_was_lost_adds_nothing(topic: Topic) -> None:
    """Not when it is cut elsewhere the second time either."""
    events = [event(execution=number % 3) for number in range(6)]
    for what in (*events, *events[:3]):
        topic.append(what)
    topic.write()
    expected = topic.rows()
    assert expected == [(0, offset) for offset in range(6)]
    topic.clickhouse.command(
        "ALTER TABLE projection_ledger DELETE WHERE topic = {topic:String}",
        {"topic": topic.id},
        settings={"mutations_sync": 2},
    )
    topic.restart()
    topic.write(at_most=4)
    topic.write()
    assert topic.rows() == expected


def test_a_message_is_cut_to_what_is_kept(topic: Topic) -> None:
    """By bytes, and within a character it stays UTF-8."""
    short = event(S.ERROR, error_message="x" * LONGEST_MESSAGE)
    long = event(S.ERROR, error_message="ab" + "€" * 100_000)
    none = event(S.ERROR, error_message=None)
    for what in (short, long, none):
        topic.append(what)
    topic.write()
    found = topic.clickhouse.query(
        "SELECT error_message FROM health_events WHERE topic_id = {id:String} ORDER BY kafka_offset",
        {"id": topic.id},
    )
    [(one,), (two,), (three,)] = found
    assert one == "x" * LONGEST_MESSAGE
    assert two.startswith("ab€€€")
    assert len(two.encode()) <= LONGEST_MESSAGE
    assert three is None
