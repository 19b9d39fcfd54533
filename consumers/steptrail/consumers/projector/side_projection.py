"""A second, quiet projection in a projector's process: a topic of few messages, each written by us as a record."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from confluent_kafka import Consumer, Message
from prometheus_client import CollectorRegistry

from steptrail.consumers.ingest.sink import ProjectionSink
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.loop.batching import BatchLimits
from steptrail.consumers.loop.buffer import Buffer, Heard
from steptrail.consumers.loop.consumer_config import consumer_config
from steptrail.consumers.loop.lag_watch import LagWatch
from steptrail.consumers.loop.loop import ConsumeLoop
from steptrail.consumers.loop.monitor import Monitor
from steptrail.consumers.runtime.backoff import Backoff, BackoffPolicy
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.consumers.runtime.status import Status
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.delivery.avro_block import WriterSchema
from steptrail.projections.delivery.batch import BatchBuilder
from steptrail.projections.delivery.spec import ProjectionSpec
from steptrail.schemas.configuration.settings import Settings

_MAX_EVENTS = 5_000
_MAX_BYTES = 8 * 1024 * 1024
_AGES = 2  # of the steps' batches: each batch costs the store the same, however small, and takes it from the steps


@dataclass(frozen=True)
class SideSource:
    """What is projected: the messages of `topic`, read as `group`, each made a record of `schemas` by `encode`.

    `encode` must not raise, and gives a record that the engine takes, whatever the message holds; it is called
    by the consume loop, so it asks nobody.
    """

    topic: str
    group: str
    spec: ProjectionSpec
    schemas: Mapping[bytes, WriterSchema]
    encode: Callable[[Message], bytes]


class SideProjection:
    """Runs a consume loop for `source` in a thread of its own, from `start` until `stop` or `stopping` is set.

    What ends the loop is logged, and the loop begun anew after a pause: a fault here must not end the projection
    of steps beside it. Its metrics begin with `steptrail_<name of the projection>_`.
    """

    def __init__(
        self,
        settings: Settings,
        clickhouse: ClickHouse,
        source: SideSource,
        stopping: threading.Event,
        *,
        registry: CollectorRegistry | None = None,
        accept_topic: str | None = None,
    ) -> None:
        self._settings = settings
        self._clickhouse = clickhouse
        self._source = source
        self._accept_topic = accept_topic
        self._stop = _Either(stopping)
        self._log = logging.getLogger(f"steptrail.consumers.{source.spec.name}")
        self._metrics = ProjectorMetrics(f"steptrail_{source.spec.name}", registry)
        self._thread = threading.Thread(target=self._run, name=f"steptrail-{source.spec.name}", daemon=True)
        self.status = Status()

    def start(self) -> None:
        """Begin; Kafka and the store may be away."""
        self._thread.start()

    def stop(self) -> None:
        """Begin to shut down; does not wait."""
        self._stop.set()

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the shutdown; whether it is over."""
        with contextlib.suppress(RuntimeError):  # never started
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        backoff = Backoff(BackoffPolicy(first=1.0, cap=60.0))
        while not self._stop.is_set():
            try:
                self._project()
            except Exception as error:
                delay = backoff.failed()
                self._log.exception(
                    "stopped: %s",
                    error,
                    extra={"projection": self._source.spec.name, "again_in_seconds": delay},
                )
                until = time.monotonic() + delay
                while not self._stop.is_set() and time.monotonic() < until:
                    time.sleep(0.2)

    def _project(self) -> None:
        source, settings = self._source, self._settings
        config = {**settings.kafka_config(), "logger": logging.getLogger("steptrail.kafka")}
        questions = BrokerQuestions(config, source.topic)
        monitor = Monitor(self.status, self._metrics, LagWatch(questions), log=self._log)
        ConsumeLoop(
            Consumer({**consumer_config(settings, source.group, monitor), **_SMALL}),
            source.topic,
            ProjectionSink(
                self._clickhouse,
                questions,
                source.spec,
                group=source.group,
                accept_topic=self._accept_topic,
            ),
            lambda positions: RecordBuffer(source, positions),
            limits=BatchLimits(_MAX_EVENTS, _MAX_BYTES, min(1.0, _AGES * settings.batch_max_age_s)),
            monitor=monitor,
            shutdown_timeout=settings.shutdown_timeout_s,
        ).run(self._stop)


class _Either(threading.Event):
    """Set when it is set, or `other` is."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set()


_SMALL = {"queued.min.messages": 1_000, "queued.max.messages.kbytes": 4 * 1024}


class RecordBuffer(Buffer):
    """A buffer that takes in what `source.encode` makes of each message, and lets go of the message."""

    def __init__(self, source: SideSource, positions: dict[int, int]) -> None:
        super().__init__(lambda: BatchBuilder(source.schemas), positions)
        self._encode = source.encode

    def extend(self, messages: Iterable[Message], now: float) -> list[Heard]:
        """Take in what was consumed; returns what was an error instead, with its place if it has one."""
        records = [m if m.error() is not None else _Record(m, self._encode(m)) for m in messages]
        return super().extend(cast("list[Message]", records), now)


class _Record:
    """A message with another value, as far as a buffer asks."""

    __slots__ = ("_offset", "_partition", "_time", "_value")

    def __init__(self, message: Message, value: bytes) -> None:
        self._partition = message.partition()
        self._offset = message.offset()
        self._time = message.timestamp()
        self._value = value

    def error(self) -> None:
        return None

    def partition(self) -> int | None:
        return self._partition

    def offset(self) -> int | None:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return self._time

    def value(self) -> bytes:
        return self._value

    def headers(self) -> None:
        return None
