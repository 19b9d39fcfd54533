"""The projector: the consume loop of step events, and beside it those of dead letters, emitters' reports and
observations, and what removes old events.
"""

from __future__ import annotations

import logging
import os
import threading

from confluent_kafka import Consumer, KafkaException

from steptrail.consumers.ingest.dead_letter_producer import DeadLetters
from steptrail.consumers.ingest.poison_limit import PoisonLimit
from steptrail.consumers.ingest.sink import ProjectorSink
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.kafka.membership import Membership
from steptrail.consumers.loop.batching import BatchLimits
from steptrail.consumers.loop.consumer_config import consumer_config, reading_denied
from steptrail.consumers.loop.gc_tuning import rarely_collected
from steptrail.consumers.loop.lag_watch import LagWatch
from steptrail.consumers.loop.loop import ConsumeLoop
from steptrail.consumers.loop.monitor import Monitor
from steptrail.consumers.projector.retention_task import RetentionTask
from steptrail.consumers.projector.side_projection import SideProjection
from steptrail.consumers.projector.sources import side_sources
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.consumers.runtime.service import Service
from steptrail.consumers.runtime.signals import stop_at_signals
from steptrail.consumers.runtime.status import Status
from steptrail.projections.clickhouse.shards import connect_shards
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.consumers.projector")

# A statement that takes longer counts as lost; the ledger finds out whether it took effect.
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
    with Membership.of(settings, Topics(settings.topic_prefix).projector_group) as membership:
        while True:
            name = membership.name
            try:
                return _project(settings, stop, membership, name, accept_topic)
            except KafkaException as error:
                if not membership.renewed(name, error):
                    raise


def _project(
    settings: Settings,
    stop: threading.Event,
    membership: Membership,
    name: str | None,
    accept_topic: str | None,
) -> int:
    topics = Topics(settings.topic_prefix)
    topic, group = topics.steps.name, topics.projector_group
    kafka = {**settings.kafka_config(), "logger": logging.getLogger("steptrail.kafka")}
    status, metrics = Status(), ProjectorMetrics()
    with Service(settings, stop, status, metrics, log=_log) as service:
        questions = BrokerQuestions(kafka, topic)
        monitor = Monitor(status, metrics, LagWatch(questions), denied=reading_denied(kafka, topic, group))
        schemas = WriterSchemas.of(settings)
        shards = service.closing(connect_shards(settings, timeout=STORE_TIMEOUT_S))
        member = name or str(os.getpid())
        dead_letters = service.closing(DeadLetters(kafka, topics.dlq.name, connector=group, task=member))
        for source in side_sources(topics, schemas):
            service.add(
                SideProjection(
                    settings,
                    shards,
                    source,
                    service.stopping,
                    membership=membership,
                    registry=metrics.registry,
                    accept_topic=accept_topic,
                )
            )
        for store in shards.stores:
            service.add(RetentionTask(store, service.stopping))
        sink = ProjectorSink(
            shards,
            questions,
            dead_letters,
            group=group,
            schemas=schemas,
            limit=PoisonLimit.of(settings),
            metrics=metrics,
            accept_topic=accept_topic,
        )
        loop = ConsumeLoop(
            Consumer(consumer_config(settings, group, monitor, name)),
            topic,
            sink,
            sink.new_buffer,
            limits=BatchLimits.of(settings),
            monitor=monitor,
            leaves=membership.leaves,
            shutdown_timeout=settings.shutdown_timeout_s,
        )
        with rarely_collected():
            service.run(loop.run)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_projector(Settings(), stop_at_signals()))
