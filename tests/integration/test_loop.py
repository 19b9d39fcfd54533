from __future__ import annotations

import random
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.loop.batching import BatchLimits
from steptrail.consumers.loop.buffer import Buffer, ConsumedBatch
from steptrail.consumers.loop.consumer_config import consumer_config
from steptrail.consumers.loop.lag_watch import LagWatch
from steptrail.consumers.loop.loop import ConsumeLoop
from steptrail.consumers.loop.monitor import Monitor
from steptrail.consumers.loop.positions import Start, start_of
from steptrail.consumers.runtime.backoff import Backoff, BackoffPolicy
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.consumers.runtime.status import State, Status
from steptrail.projections.delivery.batch import BatchBuilder
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.topics import Topics
from support.consumed import event_value
from support.projecting import produce
from support.waiting import until


class Ledger:
    """What is written, by partition, and who owns which; shared by the sinks of several loops."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.rows: dict[int, list[int]] = {}
        self.next: dict[int, int] = {}
        self.owner: dict[int, object] = {}
        self.overlaps = 0

    def written(self) -> list[tuple[int, int]]:
        with self.lock:
            return sorted((p, o) for p, offsets in self.rows.items() for o in offsets)


class LedgerSink:
    """A sink that keeps offsets by the rules of the real ledger: claims, contiguous spans, own rows as guard."""

    def __init__(self, ledger: Ledger, settings: Settings, rng: random.Random | None = None) -> None:
        topics = Topics(settings.topic_prefix)
        self.ledger = ledger
        self.questions = BrokerQuestions(settings.kafka_config(), topics.steps.name)
        self.group = topics.projector_group
        self.rng = rng
        self.delay = 0.0
        self.away = threading.Event()
        self.opens = 0
        self.gaps: list[tuple[int, int, int]] = []
        self.sizes: list[int] = []

    def open(self, partitions: Collection[int]) -> dict[int, Start]:
        self._maybe_fail()
        self.opens += 1
        with self.ledger.lock:
            for partition in partitions:
                self.ledger.owner[partition] = self
            projected = {p: self.ledger.next.get(p, 0) for p in partitions}
        committed = self.questions.committed(self.group, partitions)
        first, end = self.questions.first_offsets(partitions), self.questions.end_offsets(partitions)
        starts = {p: start_of(p, projected[p], committed[p], first[p], end[p]) for p in partitions}
        self.gaps += [(s.gap.partition, s.gap.first, s.gap.last) for s in starts.values() if s.gap]
        return starts

    def write(self, batch: ConsumedBatch) -> dict[int, int]:
        time.sleep(self.delay)
        self._maybe_fail()
        self.sizes.append(batch.events)
        done = {}
        with self.ledger.lock:
            mine = [p for p in batch.batch.spans if self.ledger.owner.get(p) is self]
            for partition in mine:
                span = batch.batch.spans[partition]
                expected = self.ledger.next.get(partition)
                if expected is not None and span.first != expected:
                    self.ledger.overlaps += 1
                assert expected is None or span.first <= expected or self.gaps, "a hole in the ledger"
                self.ledger.next[partition] = max(span.last + 1, expected or 0)
                done[partition] = span.last + 1
            for message in batch.messages:
                place, offset = message.partition(), message.offset()
                assert place is not None
                assert offset is not None
                rows = self.ledger.rows.setdefault(place, [])
                if place in mine and (not rows or offset > rows[-1]):
                    rows.append(offset)
        self._maybe_fail()  # applied, and the reply lost
        return done

    def release(self, partitions: Collection[int]) -> None:
        pass

    def prepare(self) -> None:
        pass

    def _maybe_fail(self) -> None:
        if self.away.is_set() or (self.rng is not None and self.rng.random() < 0.2):
            raise InfrastructureError("the store")


@contextmanager
def looping(
    settings: Settings, sink: LedgerSink, limits: BatchLimits | None = None
) -> Iterator[tuple[threading.Thread, Status]]:
    topics = Topics(settings.topic_prefix)
    status = Status()
    monitor = Monitor(status, ProjectorMetrics(), LagWatch(sink.questions))
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            ConsumeLoop(
                Consumer(consumer_config(settings, topics.projector_group, monitor)),
                topics.steps.name,
                sink,
                lambda positions: Buffer(BatchBuilder, positions),
                limits=limits or BatchLimits(),
                monitor=monitor,
                backoff=Backoff(BackoffPolicy(first=0.02, cap=0.2)),
            ).run(stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread, status
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


SMALL = BatchLimits(max_events=200, max_age_s=0.2)


def test_a_slow_sink_holds_reading_back(topics_only: Settings) -> None:
    """Buffers stay bounded, partitions are paused, and everything arrives."""
    sent = produce(topics_only, (event_value() for _ in range(3_000)))
    ledger = Ledger()
    sink = LedgerSink(ledger, topics_only)
    sink.delay = 1.2  # longer than the loop's patience
    with looping(topics_only, sink, BatchLimits(max_events=1_000)):
        until(lambda: ledger.written() == sorted(sent), "everything")
    assert max(sink.sizes) <= 1_000
    assert ledger.overlaps == 0


def test_random_faults_lose_and_double_nothing(topics_only: Settings) -> None:
    """A fifth of all calls fail, before or after they took effect."""
    ledger = Ledger()
    sink = LedgerSink(ledger, topics_only, random.Random(7))
    sent = produce(topics_only, (event_value() for _ in range(1_000)))
    with looping(topics_only, sink, SMALL):
        for _ in range(20):
            sent |= produce(topics_only, (event_value() for _ in range(100)))
        until(lambda: ledger.written() == sorted(sent), "everything")
    assert sink.opens > 3


def test_what_was_ready_is_written_after_an_outage(topics_only: Settings) -> None:
    """While the store is away the consumer keeps its membership and says what it waits for; then it goes on."""
    ledger = Ledger()
    sink = LedgerSink(ledger, topics_only)
    sent = produce(topics_only, (event_value() for _ in range(300)))
    with looping(topics_only, sink, SMALL) as (_, status):
        until(lambda: ledger.written() == sorted(sent), "the first records")
        sink.away.set()
        sent |= produce(topics_only, (event_value() for _ in range(600)))
        until(lambda: status.waiting_for == "the store", "reason")
        assert status.state is State.WAITING
        until(lambda: status.lag_events == 600, "lag")
        assert status.lag_seconds > 0
        group = Topics(topics_only.topic_prefix).projector_group
        assert len(sink.questions.group(group).members) == 1
        sink.away.clear()
        until(lambda: ledger.written() == sorted(sent), "the rest")
        until(lambda: status.state is State.RUNNING, "end of the waiting")
    assert ledger.overlaps == 0


def test_members_that_come_and_go_lose_and_double_nothing(topics_only: Settings) -> None:
    """Rebalances under load, with calls that fail."""
    ledger = Ledger()
    sent = produce(topics_only, (event_value() for _ in range(500)))
    with looping(topics_only, LedgerSink(ledger, topics_only, random.Random(1)), SMALL):
        for seed in range(4):
            with looping(topics_only, LedgerSink(ledger, topics_only, random.Random(seed)), SMALL):
                for _ in range(8):
                    sent |= produce(topics_only, (event_value() for _ in range(60)))
                    time.sleep(0.1)
        until(lambda: ledger.written() == sorted(sent), "everything")


def test_transactions_leave_no_holes_in_the_ledger(topics_only: Settings) -> None:
    """Markers and aborted records have offsets, and are no records."""
    topic = Topics(topics_only.topic_prefix).steps.name
    producer = Producer({**topics_only.kafka_config(), "transactional.id": topics_only.topic_prefix})
    producer.init_transactions(30)
    for number in range(9):
        producer.begin_transaction()
        for _ in range(10):
            producer.produce(topic, event_value(), partition=0)
        if number % 3 == 2:
            producer.flush(30)
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
    last = produce(topics_only, [event_value()])
    ledger = Ledger()
    sink = LedgerSink(ledger, topics_only)
    with looping(topics_only, sink, BatchLimits(max_events=7)):
        until(lambda: (0, next(iter(last))[1]) in ledger.written(), "the last record")
    assert len(ledger.rows[0]) == 61
    assert ledger.next[0] == next(iter(last))[1] + 1
    assert ledger.overlaps == 0


def test_records_that_expire_while_it_waits_are_a_gap(topics_only: Settings) -> None:
    """Out of range in mid-stream: the gap is known, and reading goes on behind it."""
    topic = Topics(topics_only.topic_prefix).steps.name
    ledger = Ledger()
    sink = LedgerSink(ledger, topics_only)
    produce(topics_only, (event_value() for _ in range(60)))
    with looping(topics_only, sink, BatchLimits(max_events=5)) as (_, status):
        until(lambda: len(ledger.written()) == 60, "the first records")
        sink.away.set()
        produce(topics_only, (event_value() for _ in range(600)))  # 10 to 109
        until(lambda: status.waiting_for == "the store", "reason")
        admin = AdminClient(topics_only.kafka_config())
        for future in admin.delete_records([TopicPartition(topic, 1, 80)]).values():
            future.result(30)
        sink.away.clear()
        until(lambda: all(ledger.next.get(p) == 110 for p in range(6)), "everything that is left")
    rows = set(ledger.rows[1])
    missing = [o for o in range(110) if o not in rows]
    gaps = {o for p, first, last in sink.gaps for o in range(first, last + 1) if p == 1}
    assert set(missing) <= gaps
    assert missing
    assert missing[-1] == 79
    assert all(len(ledger.rows[p]) == 110 for p in (0, 2, 3, 4, 5))
