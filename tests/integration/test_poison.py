"""Messages that are no events, of every kind, and what projector and health consumer make of the others."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from faults.poisoning import KINDS, make
from steptrail.consumers.health.run import run_health
from steptrail.consumers.ingest.finding import fault_of
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics
from steptrail.schemas.wire.schema_topic import publish_schema, published_schemas
from support.consumed import event_value, message
from support.effort import ONLY_IN_TEST_ALL
from support.letters import dlq_text
from support.newer import NEWER, newer_value
from support.projecting import headers_of, produce, projected, projecting, read_all
from support.waiting import until


@contextlib.contextmanager
def judging(settings: Settings) -> Iterator[None]:
    """A health consumer in a thread of this process; its errors are raised at the end."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            run_health(settings, stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(settings.shutdown_timeout_s + 10)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


def counted(clickhouse: ClickHouse, table: str) -> int:
    [(count,)] = clickhouse.query(f"SELECT uniqExact(kafka_partition, kafka_offset) FROM {table}")
    return int(count)


def test_poison_of_every_kind_stops_neither_consumer(workspace: Settings) -> None:
    """The good ones are in both stores, each bad one once in the dead-letter topic, for its own reason; a restart
    adds none.
    """
    bad = [make(kind, number) for number in range(8) for kind in KINDS]
    deep = event_value(details='{"a":' * 1024 + "1" + "}" * 1024)
    bad += [deep] * 150
    values = [value for number in range(5_000) for value in (event_value(), *bad[number : number + 1])]
    sent = produce(workspace, values)
    topics = Topics(workspace.topic_prefix)
    with projected(workspace) as store, connect(workspace) as clickhouse:
        with projecting(workspace), judging(workspace):
            until(lambda: store.count() >= 5_000, "projection of the good ones")
            until(
                lambda: counted(clickhouse, "health_events") >= 5_000, "the good ones in health_events", 120
            )
        letters = read_all(workspace, topics.dlq.name)
        assert len(letters) == len(bad)
        places = set()
        schemas = WriterSchemas()
        for letter in letters:
            headers = headers_of(letter)
            place = (int(headers["__connect.errors.partition"]), int(headers["__connect.errors.offset"]))
            places.add(place)
            fault = fault_of(message(*place, sent[place].value()), schemas)
            assert fault is not None
            assert headers["steptrail.reason"] == fault.reason
            assert headers.get("steptrail.field") == fault.field
        assert len(places) == len(bad)
        more = produce(workspace, [event_value()])
        with projecting(workspace):
            until(lambda: store.count() >= 5_001, "projection after a restart")
        assert len(read_all(workspace, topics.dlq.name)) == len(bad)
        assert set(store.offsets()) == (sent.keys() | more.keys()) - places
        assert store.count() == 5_001
        assert store.ledger_holes() == []


def test_newer_producers_are_read_where_their_schema_is_published(workspace: Settings) -> None:
    """By both consumers, among older ones; what is wrong with them is found as ever."""
    publish_schema(workspace, NEWER)
    assert list(published_schemas(workspace).values()) == [NEWER]
    values = [newer_value(region="eu") if n % 3 else event_value() for n in range(3_000)]
    produce(workspace, [*values, newer_value()[:-1], newer_value(region="x") + b"\0"])
    with projected(workspace) as store, connect(workspace) as clickhouse:
        with projecting(workspace), judging(workspace):
            until(lambda: store.count() >= 3_000, "projection")
            until(lambda: counted(clickhouse, "health_events") >= 3_000, "all in health_events")
        assert store.count() == 3_000
        told = [
            headers_of(m)["steptrail.reason"]
            for m in read_all(workspace, Topics(workspace.topic_prefix).dlq.name)
        ]
        assert sorted(told) == ["TRAILING_BYTES", "TRUNCATED"]


@ONLY_IN_TEST_ALL
def test_newer_producers_stop_nothing_and_wait_in_the_dead_letters(workspace: Settings) -> None:
    """Where nobody published their schema; once it is known, `steptrail dlq redrive` brings each event once."""
    produce(workspace, [newer_value() if n % 3 else event_value() for n in range(4_500)])
    strict = workspace.with_values(poison_max_ratio=0.1, poison_max_in_a_row=100)
    with projected(workspace) as store, projecting(strict):
        until(lambda: store.count() >= 1_500, "projection of the older ones")
        letters = "SELECT count() FROM dead_letter_state WHERE state = 'OPEN' AND reason = 'UNKNOWN_SCHEMA'"
        until(lambda: store.clickhouse.query(letters) == [(3_000,)], "letters of the newer ones")
        publish_schema(workspace, NEWER)
        code, out, err = dlq_text(
            workspace, "redrive", "--yes", "--reason", "UNKNOWN_SCHEMA", "--rate", "0", "--json"
        )
        assert code == 0, (out, err)
        until(lambda: store.count() >= 4_500, "projection of all")
        assert store.clickhouse.query("SELECT count(), uniqExact(event_id) FROM steps") == [(4_500, 4_500)]


def test_what_is_no_schema_on_the_topic_is_passed_over(workspace: Settings) -> None:
    """Whoever put it there."""
    topic = Topics(workspace.topic_prefix).schemas.name
    assert published_schemas(workspace) == {}
    from confluent_kafka import Producer

    producer = Producer(workspace.kafka_config())
    for value in (b"junk", b"[]", b'{"type": "record"}', b""):
        producer.produce(topic, value, b"key")
    producer.produce(topic, None, b"key")
    assert producer.flush(30) == 0
    publish_schema(workspace)
    assert len(published_schemas(workspace)) == 1


@pytest.mark.parametrize("prefix", ["never-made"])
def test_without_the_topic_newer_events_wait_too(workspace: Settings, prefix: str) -> None:
    """A cluster whose topics are those of an older version: it is said, and nothing stops."""
    schemas = WriterSchemas.of(workspace.with_values(topic_prefix=prefix))
    fault = fault_of(message(0, 0, newer_value()), schemas)
    assert fault is not None
    assert fault.reason == "UNKNOWN_SCHEMA"
