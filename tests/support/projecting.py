"""Projectors as real processes, records on a real topic, and what became of them in the store."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from steptrail.consumers.projector.run import run_projector
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics
from support.stack import environ_of
from support.waiting import PATIENCE_S


def produce(
    settings: Settings, values: Iterable[bytes | None], **more: Any
) -> dict[tuple[int, int], Message]:
    """Put `values` on the steps topic, in partitions by turns; the acknowledged messages by place."""
    topic = Topics(settings.topic_prefix).steps
    acknowledged: dict[tuple[int, int], Message] = {}

    def on_delivery(error: Any, message: Message) -> None:
        assert error is None, error
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        acknowledged[partition, offset] = message

    options = {"message.max.bytes": 2_000_000, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000}
    producer = Producer({**settings.kafka_config(), **options})
    for number, value in enumerate(values):
        producer.produce(
            topic.name,
            value=value,
            key=b"default/doc-%d" % number,
            partition=number % settings.steps_partitions,
            on_delivery=on_delivery,
            **more,
        )
        producer.poll(0)
    assert producer.flush(60) == 0
    return acknowledged


def read_all(settings: Settings, topic: str) -> list[Message]:
    """Everything that is on `topic` now."""
    # To the end as the broker says it: the last offset may be a transaction's marker, which nobody is given.
    options = {"group.id": "test-reader", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer({**settings.kafka_config(), **options})
    try:
        numbers = AdminClient(settings.kafka_config()).list_topics(topic, timeout=30).topics[topic].partitions
        unread = set(numbers)
        consumer.assign([TopicPartition(topic, number, 0) for number in unread])
        messages: list[Message] = []
        end = time.monotonic() + PATIENCE_S
        while unread:
            assert time.monotonic() < end, f"partitions {unread} of {topic} have no end"
            for message in consumer.consume(1000, 0.2):
                error = message.error()
                if error is None:
                    messages.append(message)
                else:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    unread.discard(message.partition())
        return messages
    finally:
        consumer.close()


def headers_of(message: Message) -> dict[str, str]:
    """A message's headers as text."""
    pairs = message.headers() or []
    assert isinstance(pairs, list)
    return {key: value.decode() if isinstance(value, bytes) else str(value) for key, value in pairs}


class Projected:
    """What the store holds of a workspace."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self.clickhouse = clickhouse

    def count(self) -> int:
        """Raw rows in `steps`."""
        return int(self.clickhouse.query("SELECT count() FROM steps")[0][0])

    def offsets(self) -> list[tuple[int, int]]:
        """Partition and offset of every raw row, in order; duplicates show."""
        sql = "SELECT kafka_partition, kafka_offset FROM steps ORDER BY 1, 2"
        return [(int(p), int(o)) for p, o in self.clickhouse.query(sql)]

    def high_water(self) -> dict[int, int]:
        """The last offset in the ledger, by partition."""
        sql = (
            "SELECT partition, max(last_offset) FROM projection_ledger WHERE projection_name = 'steps' "
            "GROUP BY partition"
        )
        return {int(p): int(o) for p, o in self.clickhouse.query(sql)}

    def ledger_holes(self) -> list[tuple[int, int, int]]:
        """Partition, last offset and next first offset wherever the ledger's batches leave something out."""
        sql = (
            "SELECT partition, first_offset, last_offset FROM projection_ledger "
            "WHERE projection_name = 'steps' ORDER BY partition, first_offset"
        )
        holes = []
        stand: dict[int, int] = {}
        for partition, first, last in self.clickhouse.query(sql):
            if first > stand.get(partition, -1) + 1:
                holes.append((partition, stand.get(partition, -1), first))
            stand[partition] = max(last, stand.get(partition, -1))
        return holes


@contextlib.contextmanager
def projected(settings: Settings) -> Iterator[Projected]:
    """The workspace's store, with merges stopped, so that no duplicate can be merged away."""
    with connect(settings) as clickhouse:
        clickhouse.command("SYSTEM STOP MERGES steps")
        yield Projected(clickhouse)


@contextlib.contextmanager
def projecting(settings: Settings, **more: Any) -> Iterator[threading.Thread]:
    """A projector in a thread of this process; stopped, and joined, at the end. Its errors are raised there."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            run_projector(settings, stop, **more)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="projector")
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(settings.shutdown_timeout_s + PATIENCE_S)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


class ProjectorProcess:
    """A projector in a process of its own."""

    def __init__(self, settings: Settings, **environ: str) -> None:
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by close()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "steptrail.consumers.projector.run"],
            env=environ_of(settings, **environ),
            stderr=self.log,
        )

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE_S) -> int:
        return self.process.wait(timeout)

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()


@contextlib.contextmanager
def projectors(settings: Settings, count: int = 1, **environ: str) -> Iterator[Sequence[ProjectorProcess]]:
    """`count` projector processes; killed at the end."""
    running: list[ProjectorProcess] = []
    try:
        for _ in range(count):
            running.append(ProjectorProcess(settings, **environ))  # noqa: PERF401  each must be closed
        yield running
    except BaseException:
        for process in running:
            print(f"--- projector {process.process.pid}\n{process.said()}")
        raise
    finally:
        for process in running:
            process.close()
