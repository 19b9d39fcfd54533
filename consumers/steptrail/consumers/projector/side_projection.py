"""A small projection in the projector's process: a topic of few messages, each written as one record."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from confluent_kafka import Consumer, Message
from prometheus_client import CollectorRegistry

from steptrail.consumers.ingest.sink import ProjectionSink
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.kafka.membership import Membership
from steptrail.consumers.loop.batching import BatchLimits
from steptrail.consumers.loop.buffer import Buffer, Heard
from steptrail.consumers.loop.consumer_config import consumer_config, reading_denied
from steptrail.consumers.loop.lag_watch import LagWatch
from steptrail.consumers.loop.loop import ConsumeLoop
from steptrail.consumers.loop.monitor import Monitor
from steptrail.consumers.runtime.background import BackgroundPart
from steptrail.consumers.runtime.backoff import Backoff, BackoffPolicy
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.consumers.runtime.status import Status
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.shards import Shards
from steptrail.projections.delivery.avro_block import WriterSchema
from steptrail.projections.delivery.batch import BatchBuilder
from steptrail.projections.delivery.spec import ProjectionSpec
from steptrail.schemas.configuration.settings import Settings

_MAX_EVENTS = 5_000
_MAX_BYTES = 8 * 1024 * 1024
_HEAD_START_S = 1.0  # for the steps: what is opened here takes processor time from their first batch
_AGES = 2  # of the steps' batches: each batch costs the store the same, however small, and takes it from the steps


@dataclass(frozen=True)
class SideSource:
    """What is projected: the messages of `topic`, read as `group`, each turned into a record of `schemas` by `encode`.

    `encode` must not raise, whatever the message holds, and returns a record that the engine accepts, or b"" to
    skip the message. The consume loop calls it, so it must not block.
    """

    topic: str
    group: str
    spec: ProjectionSpec
    schemas: Mapping[bytes, WriterSchema]
    encode: Callable[[Message], bytes]


class SideProjection(BackgroundPart):
    """Runs a consume loop for `source`.

    Whatever ends the loop is logged, and the loop started anew after a pause: a fault here must not end the
    projection of steps. Its metrics begin with `steptrail_<name of the projection>_`.
    """

    def __init__(
        self,
        settings: Settings,
        clickhouse: ClickHouse | Shards,
        source: SideSource,
        stop: threading.Event,
        *,
        membership: Membership,
        registry: CollectorRegistry | None = None,
        accept_topic: str | None = None,
    ) -> None:
        name = source.spec.name
        super().__init__(name, stop, logging.getLogger(f"steptrail.consumers.{name}"))
        self._settings = settings
        self._clickhouse = clickhouse
        self._source = source
        self._membership = membership
        self._accept_topic = accept_topic
        self._metrics = ProjectorMetrics(f"steptrail_{name}", registry)
        self.status = Status()

    def run(self) -> None:
        """Project until `stop` is set."""
        self._stop.wait(_HEAD_START_S)
        backoff = Backoff(BackoffPolicy(first=1.0, cap=60.0))
        while not self._stop.is_set():
            name = self._membership.name
            try:
                self._project(name)
            except Exception as error:
                if self._membership.renewed(name, error):
                    continue
                delay = backoff.failed()
                self._log.exception(
                    "stopped: %s",
                    error,
                    extra={"projection": self._source.spec.name, "retry_in_seconds": round(delay, 2)},
                )
                self._stop.wait(delay)

    def _project(self, member: str | None) -> None:
        source, settings = self._source, self._settings
        config = {**settings.kafka_config(), "logger": logging.getLogger("steptrail.kafka")}
        questions = BrokerQuestions(config, source.topic)
        monitor = Monitor(
            self.status,
            self._metrics,
            LagWatch(questions),
            log=self._log,
            denied=reading_denied(config, source.topic, source.group),
        )
        ConsumeLoop(
            Consumer({**consumer_config(settings, source.group, monitor, member), **_SMALL}),
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
            leaves=self._membership.leaves,
            shutdown_timeout=settings.shutdown_timeout_s,
        ).run(self._stop)


_SMALL = {
    "queued.min.messages": 1_000,
    "queued.max.messages.kbytes": 4 * 1024,
    "fetch.min.bytes": 1,
    "fetch.wait.max.ms": 1_000,
}


class RecordBuffer(Buffer):
    """A buffer of what `source.encode` makes of each message; the message itself is not kept."""

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
