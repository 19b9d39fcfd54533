"""The projector: the consume loop with the steps projection as its sink; beside it dead letters, what emitters
report of themselves, and what consumers observe of executions.
"""

from __future__ import annotations

import logging
import os
import threading

from confluent_kafka import Consumer

from steptrail.consumers.ingest.dead_letter_producer import DeadLetters
from steptrail.consumers.ingest.poison_limit import PoisonLimit
from steptrail.consumers.ingest.sink import ProjectorSink
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.loop.batching import BatchLimits
from steptrail.consumers.loop.consumer_config import consumer_config
from steptrail.consumers.loop.gc_tuning import rarely_collected
from steptrail.consumers.loop.lag_watch import LagWatch
from steptrail.consumers.loop.loop import ConsumeLoop
from steptrail.consumers.loop.monitor import Monitor
from steptrail.consumers.projector.dead_letters import dead_letter_source
from steptrail.consumers.projector.emitter_reports import emitter_report_source
from steptrail.consumers.projector.observations import observation_source
from steptrail.consumers.projector.side_projection import SideProjection
from steptrail.consumers.runtime.deadline import Deadline
from steptrail.consumers.runtime.json_logging import configure_logging
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.consumers.runtime.status import Status
from steptrail.consumers.runtime.status_server import StatusServer
from steptrail.projections.clickhouse.client import connect
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.consumers.projector")
_kafka_log = logging.getLogger("steptrail.kafka")

# A statement that takes longer counts as lost; whether it still took effect, the ledger finds out.
STORE_TIMEOUT_S = 60.0


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
    schemas = WriterSchemas.of(settings)
    clickhouse = connect(settings, timeout=STORE_TIMEOUT_S)
    sink = ProjectorSink(
        clickhouse,
        questions,
        dead_letters,
        group=group,
        schemas=schemas,
        limit=PoisonLimit.of(settings),
        metrics=metrics,
        accept_topic=accept_topic,
    )
    server = None
    if settings.metrics_port is not None:
        server = StatusServer(status, metrics, host=settings.metrics_host, port=settings.metrics_port)
        _log.info("serving metrics", extra={"host": settings.metrics_host, "port": server.port})
    beside = [
        SideProjection(
            settings, clickhouse, source, stop, registry=metrics.registry, accept_topic=accept_topic
        )
        for source in (
            dead_letter_source(topics, schemas),
            emitter_report_source(topics),
            observation_source(topics),
        )
    ]
    try:
        for side in beside:
            side.start()
        with rarely_collected():
            ConsumeLoop(
                Consumer(consumer_config(settings, group, monitor)),
                topic,
                sink,
                sink.new_buffer,
                limits=BatchLimits(
                    settings.batch_max_events, settings.batch_max_bytes, settings.batch_max_age_s
                ),
                monitor=monitor,
                shutdown_timeout=settings.shutdown_timeout_s,
            ).run(stop)
    finally:
        for side in beside:
            side.stop()
        deadline = Deadline(settings.shutdown_timeout_s)
        for side in beside:
            side.join(deadline.remaining())
        dead_letters.close(1.0)
        clickhouse.close()
        if server is not None:
            server.close()
    return 0


if __name__ == "__main__":
    import signal

    _stop = threading.Event()
    for _number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(_number, lambda *_: _stop.set())
    raise SystemExit(run_projector(Settings(), _stop))
