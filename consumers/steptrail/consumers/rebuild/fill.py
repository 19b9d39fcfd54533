"""Fills the tables of a rebuild from the topic up to given offsets: the projector's loop without a group."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, TopicPartition
from prometheus_client import CollectorRegistry

from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.loop.batching import BatchLimits
from steptrail.consumers.loop.buffer import ConsumedBatch
from steptrail.consumers.loop.consumer_config import consumer_config
from steptrail.consumers.loop.feed import OnRebalance
from steptrail.consumers.loop.gc_tuning import rarely_collected
from steptrail.consumers.loop.lag_watch import LagWatch
from steptrail.consumers.loop.loop import ConsumeLoop
from steptrail.consumers.loop.monitor import Monitor
from steptrail.consumers.rebuild.sink import RebuildSink
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.consumers.runtime.status import Status
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.lifecycle.rebuilds import Rebuild, RebuildState, write
from steptrail.projections.lifecycle.shadow_tables import Side
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.consumers.rebuild")

TELL_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Filling:
    """How far a fill is: rows copied, events read since it began, events left, the rate, what it waits for."""

    copied: int
    events: int
    left: int
    per_second: float
    waiting_for: str | None

    @property
    def seconds_left(self) -> float | None:
        """At the rate so far; None while that is not known."""
        return self.left / self.per_second if self.per_second > 0 else None


Tell = Callable[[Filling], None]


def fill(
    settings: Settings,
    rebuild: Rebuild,
    side: Side,
    targets: Mapping[int, int],
    stop: threading.Event,
    *,
    tell: Tell = lambda _: None,
    under: uuid.UUID | None = None,
) -> bool:
    """Read the topic into the tables of `side` up to `targets`: partition → offset, exclusive. Blocks.

    Returns whether it got there; False when `stop` was set before. `tell` is called every two seconds. `under` is the
    hold under which the live tables stand still. While Kafka or ClickHouse is away, or the disk is full, it waits.
    Raises RebuildTakenOver, TopicRecreated.
    """
    status, metrics = Status(), ProjectorMetrics("steptrail_rebuild", CollectorRegistry())
    questions = BrokerQuestions({**settings.kafka_config(), "logger": _log}, rebuild.topic)
    monitor = Monitor(status, metrics, LagWatch(questions), log=_log)
    progress = _Progress(targets, stop, status, tell)
    schemas = WriterSchemas.of(settings)
    monitor.assigned(sorted(targets))
    with connect(settings) as clickhouse:

        def on_copied() -> None:
            write(clickhouse, rebuild.now(RebuildState.COPIED))

        sink = RebuildSink(
            clickhouse,
            questions,
            rebuild,
            side,
            schemas=schemas,
            metrics=metrics,
            copied=progress.copied,
            on_copied=on_copied,
            under=under,
        )
        config = {
            # A consumer names a group; it neither joins this one nor commits to it.
            **consumer_config(settings, Topics(settings.topic_prefix).projector_group, monitor),
            "enable.partition.eof": True,
        }
        config.pop("group.instance.id", None)
        loop = ConsumeLoop(
            Consumer(config),
            rebuild.topic,
            sink,
            sink.new_buffer,
            limits=BatchLimits.of(settings),
            monitor=monitor,
            feed=_These(targets),
            observer=progress,
            commits=False,
            shutdown_timeout=settings.shutdown_timeout_s,
        )
        with rarely_collected():
            loop.run(progress.over)
    return progress.complete


class _These:
    """A feed of fixed partitions, without a group."""

    def __init__(self, partitions: Collection[int]) -> None:
        self._partitions = sorted(partitions)

    def join(
        self, consumer: Consumer, *, on_assign: OnRebalance, on_revoke: OnRebalance, on_lost: OnRebalance
    ) -> None:
        """There is no group."""

    def assigned(self, entries: Sequence[TopicPartition]) -> list[int]:
        """No group assigns anything."""
        return []

    def revoked(self, entries: Sequence[TopicPartition], held: Collection[int]) -> list[int]:
        """Nor revokes anything."""
        return []

    def more(self, held: Collection[int]) -> list[int]:
        """Those that are not held yet."""
        return [partition for partition in self._partitions if partition not in held]


class _Progress:
    """Observes the loop: sets `over` when every partition has its target, or `stop` is set."""

    def __init__(self, targets: Mapping[int, int], stop: threading.Event, status: Status, tell: Tell) -> None:
        self.over = threading.Event()
        self.complete = False
        self._targets = targets
        self._stop = stop
        self._status = status
        self._tell = tell
        self._ends: dict[int, tuple[int, int]] = {}
        self._begun = self._told = time.monotonic()
        self._copied = 0
        self._events = 0

    def copied(self, rows: int) -> None:
        """So many rows more were copied. Called by the writer's thread."""
        self._copied += rows

    def batch_written(self, batch: ConsumedBatch, partitions: frozenset[int]) -> None:
        """Count its events."""
        if not self._events:
            self._begun = time.monotonic()
        self._events += batch.events

    def reached_end(self, partition: int, position: int, end: int) -> None:
        """After `position` there is no record before `end`: markers of transactions lie there."""
        self._ends[partition] = position, end

    def stands_at(self, written: Mapping[int, int]) -> None:
        """See whether all is there, and tell how far it is."""
        left = {p: target - self._at(p, written) for p, target in self._targets.items()}
        if all(p in written and each <= 0 for p, each in left.items()):
            self.complete = True
            self.over.set()
        elif self._stop.is_set():
            self.over.set()
        now = time.monotonic()
        if now - self._told >= TELL_EVERY_S or self.over.is_set():
            self._told = now
            seconds = now - self._begun
            self._tell(
                Filling(
                    self._copied,
                    self._events,
                    sum(max(each, 0) for each in left.values()),
                    self._events / seconds if self._events and seconds > 0 else 0.0,
                    self._status.waiting_for,
                )
            )

    def _at(self, partition: int, written: Mapping[int, int]) -> int:
        at = written.get(partition, 0)
        position, end = self._ends.get(partition, (-1, -1))
        return end if at == position else at
