"""The projector: the consume loop with the steps projection as its sink."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from steptrail.consumers.batching import BatchLimits
from steptrail.consumers.broker import BrokerQuestions
from steptrail.consumers.buffer import Buffer
from steptrail.consumers.dead_letters import DeadLetters
from steptrail.consumers.http_server import StatusServer
from steptrail.consumers.lag_watch import LagWatch
from steptrail.consumers.log import configure_logging
from steptrail.consumers.loop import ConsumeLoop
from steptrail.consumers.metrics import ProjectorMetrics
from steptrail.consumers.monitor import Monitor
from steptrail.consumers.poison_limit import PoisonLimit
from steptrail.consumers.sink import ProjectorSink
from steptrail.consumers.status import Status
from steptrail.consumers.writer_schemas import WriterSchemas
from steptrail.projections.clickhouse import connect
from steptrail.schemas.registry import SchemaRegistry
from steptrail.schemas.settings import Settings
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.consumers.projector")
_kafka_log = logging.getLogger("steptrail.kafka")


def run_projector(
    settings: Settings,
    stop: threading.Event,
    *,
    accept_topic: str | None = None,
) -> int:
    """Project step events until `stop` is set, then shut down within `settings.shutdown_timeout_s`; returns 0.

    Kafka and ClickHouse may be away, at the start or later: it waits for them. Raises TopicRecreated (unless
    the new topic's id is `accept_topic`), TooMuchPoison, ConfigurationError for settings that Kafka refuses, and
    KafkaException when the consumer is fenced by another with the same `group_instance_id`.
    """
    if not logging.getLogger("steptrail").hasHandlers():
        configure_logging()
    topics = Topics(settings.topic_prefix)
    topic, group = topics.steps.name, topics.projector_group
    status, metrics = Status(), ProjectorMetrics()
    shared = {**settings.kafka_config(), "logger": _kafka_log}
    questions = BrokerQuestions(shared, topic)
    monitor = Monitor(status, metrics, LagWatch(questions))
    dead_letters = DeadLetters(
        shared, topics.dlq.name, connector=group, task=settings.group_instance_id or str(os.getpid())
    )
    schemas = WriterSchemas(SchemaRegistry(settings) if settings.schema_registry else None)
    clickhouse = connect(settings)
    server = None
    if settings.metrics_port is not None:
        server = StatusServer(status, metrics, host=settings.metrics_host, port=settings.metrics_port)
        _log.info("serving metrics", extra={"host": settings.metrics_host, "port": server.port})
    try:
        ConsumeLoop(
            Consumer(consumer_config(settings, group, monitor)),
            topic,
            ProjectorSink(
                clickhouse,
                questions,
                dead_letters,
                group=group,
                schemas=schemas,
                limit=PoisonLimit(settings.poison_max_in_a_row, settings.poison_max_ratio),
                metrics=metrics,
                accept_topic=accept_topic,
            ),
            lambda positions: Buffer(schemas.new_builder, positions),
            limits=BatchLimits(settings.batch_max_events, settings.batch_max_bytes, settings.batch_max_age_s),
            monitor=monitor,
            shutdown_timeout=settings.shutdown_timeout_s,
        ).run(stop)
    finally:
        dead_letters.close(1.0)
        clickhouse.close()
        if server is not None:
            server.close()
    return 0


def consumer_config(settings: Settings, group: str, monitor: Monitor) -> dict[str, Any]:
    """The consumer's librdkafka properties: our defaults, the settings' over them, what must be so over all."""

    def on_commit(error: KafkaError | None, _: list[TopicPartition]) -> None:
        if error is not None and error.code() != KafkaError._NO_OFFSET:
            monitor.broker_said(error)

    defaults = {
        "isolation.level": "read_committed",
        # A consumer that was killed holds its partitions for so long.
        "session.timeout.ms": 10_000,
        "topic.metadata.refresh.interval.ms": 15_000,
        # Prefetched records are memory, and compressed ones grow tenfold when they arrive: small fetches, asked
        # for again as soon as there is room, are as fast as large ones and take half the memory.
        "queued.min.messages": 50_000,
        "queued.max.messages.kbytes": 16 * 1024,
        "max.partition.fetch.bytes": 128 * 1024,
        "fetch.queue.backoff.ms": 20,
        "fetch.wait.max.ms": 100,
    }
    needed = {
        "group.id": group,
        "partition.assignment.strategy": "cooperative-sticky",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Where to start is decided in steptrail.consumers.positions; never jump by yourself.
        "auto.offset.reset": "error",
        "on_commit": on_commit,
        "error_cb": monitor.broker_said,
        "logger": _kafka_log,
    }
    if settings.group_instance_id is not None:
        needed["group.instance.id"] = settings.group_instance_id
    return {**defaults, **settings.kafka_config(), **needed}


if __name__ == "__main__":
    import signal

    _stop = threading.Event()
    for _number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(_number, lambda *_: _stop.set())
    raise SystemExit(run_projector(Settings(), _stop))
