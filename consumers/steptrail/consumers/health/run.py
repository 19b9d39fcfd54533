"""The health consumer: the consume loop that writes `health_events`, and beside it the judging and the counting.

Of all members one is active: it reads every partition, since a verdict needs them all. The group of the health
topic, which has one partition, chooses it; the ledger's claims and the topic's transactions fence the one before.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException

from steptrail.consumers.health.aggregation import Counting
from steptrail.consumers.health.judging_loop import Judging
from steptrail.consumers.health.metrics import HealthMetrics
from steptrail.consumers.health.partition_ends import ASK_TIMEOUT_S, TopicWatch
from steptrail.consumers.health.progress import Progress
from steptrail.consumers.health.rules.rules import Rules
from steptrail.consumers.health.rules.watermark import SightPolicy
from steptrail.consumers.health.rules_file import watch_rules
from steptrail.consumers.health.sink import HealthSink
from steptrail.consumers.health.stall_detector import StallWatch
from steptrail.consumers.health.verdict_topic import VerdictTopic
from steptrail.consumers.ingest.poison_limit import PoisonLimit
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.kafka.membership import Membership
from steptrail.consumers.loop.batching import BatchLimits
from steptrail.consumers.loop.buffer import Buffer
from steptrail.consumers.loop.consumer_config import consumer_config, reading_denied
from steptrail.consumers.loop.feed import LeaderFeed, Leadership
from steptrail.consumers.loop.gc_tuning import rarely_collected
from steptrail.consumers.loop.lag_watch import LagWatch
from steptrail.consumers.loop.loop import ConsumeLoop
from steptrail.consumers.loop.monitor import Monitor
from steptrail.consumers.runtime.service import Service
from steptrail.consumers.runtime.signals import stop_at_signals
from steptrail.consumers.runtime.status import Status
from steptrail.consumers.runtime.watched_file import WatchedFile
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.clickhouse.shards import connect_shards
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.consumers.judging")

STORE_TIMEOUT_S = 60.0
# Few events may wait for as many times the age of a batch: by default half a slot, and verdicts are of whole slots.
PATIENCE = 5
# Judging must notice within seconds that the store hangs: its statements are small.
JUDGING_TIMEOUT_S = 8.0


@dataclass
class JudgingStatus(Status):
    """The loop's status, and that of the judging."""

    leadership: Leadership = field(default_factory=Leadership)
    judging: Judging | None = None
    rules: WatchedFile[Rules] = field(default_factory=lambda: watch_rules(None))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        judging = self.judging
        return {
            **super().as_dict(),
            "active": self.leadership.held,
            "watermark": judging.watermark if judging else None,
            "slot": judging.slot if judging else None,
            "judging_waits_for": judging.fault if judging else None,
            "rules_refused": self.rules.fault,
        }


def run_health(
    settings: Settings,
    stop: threading.Event,
    *,
    accept_topic: str | None = None,
    policy: SightPolicy | None = None,
) -> int:
    """Judge until `stop` is set, then shut down within `settings.shutdown_timeout_s`; returns 0.

    `policy` says when verdicts count as blind. Kafka and ClickHouse may be away, at the start or later: it waits
    for them. Raises ConfigurationError when the topic's records do not carry the broker's time, TopicRecreated
    (unless the new topic's id is `accept_topic`), TooMuchPoison, and KafkaException when the consumer is fenced by
    another with the same `group_instance_id`.
    """
    with Membership.of(settings, Topics(settings.topic_prefix).health_group) as membership:
        while True:
            name = membership.name
            try:
                return _judge(settings, stop, membership, name, accept_topic, policy)
            except KafkaException as error:
                if not membership.renewed(name, error):
                    raise


def _judge(
    settings: Settings,
    stop: threading.Event,
    membership: Membership,
    name: str | None,
    accept_topic: str | None,
    policy: SightPolicy | None,
) -> int:
    topics = Topics(settings.topic_prefix)
    topic, group = topics.steps.name, topics.health_group
    kafka = {**settings.kafka_config(), "logger": logging.getLogger("steptrail.kafka")}
    member = f"{socket.gethostname()}:{os.getpid()}"
    rules = watch_rules(Path(settings.health_rules).expanduser() if settings.health_rules else None)
    leadership, progress = Leadership(), Progress()
    status, metrics = JudgingStatus(leadership=leadership, rules=rules), HealthMetrics()
    with Service(settings, stop, status, metrics, log=_log) as service:
        questions = BrokerQuestions(kafka, topic)
        monitor = Monitor(
            status, metrics, LagWatch(questions), log=_log, denied=reading_denied(kafka, topic, group)
        )
        schemas = WriterSchemas.of(settings)
        clickhouse = service.closing(connect(settings, timeout=STORE_TIMEOUT_S))
        judging_clickhouse = service.closing(connect(settings, timeout=JUDGING_TIMEOUT_S))
        sink = HealthSink(
            service.closing(connect_shards(settings, timeout=STORE_TIMEOUT_S)),
            questions,
            group=group,
            schemas=schemas,
            limit=PoisonLimit.of(settings),
            accept_topic=accept_topic,
        )
        watch = TopicWatch(BrokerQuestions(kafka, topic, timeout=ASK_TIMEOUT_S), leadership, service.stopping)
        stalls = service.closing(StallWatch.open(settings, clickhouse, member))
        judging = status.judging = Judging(
            judging_clickhouse,
            VerdictTopic(kafka, topics.health.name, group),
            progress,
            watch,
            rules,
            leadership=leadership,
            member=member,
            stop=service.stopping,
            stalls=stalls,
            topic_id=lambda: sink.topic_id,
            policy=policy,
            status=status,
            on_loss=metrics.lost_more,
        )
        metrics.follow(judging, leadership)
        service.add(judging)
        service.add(
            Counting(
                clickhouse, progress, lambda: sink.topic_id, leadership=leadership, stop=service.stopping
            )
        )
        service.add(watch)
        loop = ConsumeLoop(
            Consumer({**consumer_config(settings, group, monitor, name), "enable.partition.eof": True}),
            topic,
            sink,
            lambda positions: Buffer(schemas.new_builder, positions),
            limits=BatchLimits.of(settings, patience=PATIENCE),
            monitor=monitor,
            feed=LeaderFeed(topics.health.name, leadership, lambda: watch.count),
            observer=progress,
            leaves=membership.leaves,
            shutdown_timeout=settings.shutdown_timeout_s,
        )
        with rarely_collected():
            service.run(loop.run)
    return 0


if __name__ == "__main__":
    raise SystemExit(run_health(Settings(), stop_at_signals()))
