"""The health consumer: the consume loop with `health_events` as its sink, and beside it the judging.

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

from confluent_kafka import Consumer

from steptrail.consumers.health.aggregation import Counting
from steptrail.consumers.health.judging_loop import Judging
from steptrail.consumers.health.partition_ends import TopicWatch
from steptrail.consumers.health.progress import HealthMonitor, Progress
from steptrail.consumers.health.rules.watermark import SightPolicy
from steptrail.consumers.health.rules_file import RulesFile
from steptrail.consumers.health.sink import HealthSink
from steptrail.consumers.health.stall_adapter import JudgedStalls
from steptrail.consumers.health.stall_detector import StallWatch
from steptrail.consumers.health.verdict_topic import VerdictTopic
from steptrail.consumers.ingest.poison_limit import PoisonLimit
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.loop.batching import BatchLimits
from steptrail.consumers.loop.buffer import Buffer
from steptrail.consumers.loop.consumer_config import consumer_config
from steptrail.consumers.loop.feed import LeaderFeed
from steptrail.consumers.loop.gc_tuning import rarely_collected
from steptrail.consumers.loop.lag_watch import LagWatch
from steptrail.consumers.loop.loop import ConsumeLoop
from steptrail.consumers.runtime.deadline import Deadline
from steptrail.consumers.runtime.json_logging import configure_logging
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.consumers.runtime.status import State, Status
from steptrail.consumers.runtime.status_server import StatusServer
from steptrail.projections.clickhouse.client import connect
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.consumers.judging")
_kafka_log = logging.getLogger("steptrail.kafka")

STORE_TIMEOUT_S = 60.0
# Judging must see within seconds that the store hangs: its statements are small.
JUDGING_TIMEOUT_S = 8.0


@dataclass
class JudgingStatus(Status):
    """The loop's status, and what of judging is to be shown."""

    feed: LeaderFeed | None = None
    judging: Judging | None = None
    rules: RulesFile = field(default_factory=lambda: RulesFile(None))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        judging = self.judging
        told = {
            "active": self.feed is not None and self.feed.leading,
            "watermark": judging.watermark if judging else None,
            "slot": judging.slot if judging else None,
            "judging_waits_for": judging.fault if judging else None,
            "rules_refused": self.rules.fault,
        }
        return {**super().as_dict(), **told}


def run_health(
    settings: Settings,
    stop: threading.Event,
    *,
    accept_topic: str | None = None,
    policy: SightPolicy | None = None,
) -> int:
    """Judge until `stop` is set, then shut down within `settings.shutdown_timeout_s`; returns 0.

    `policy` says when verdicts count as blind. Kafka and ClickHouse may be away, at the start or later: it waits
    for them. Raises ConfigurationError when the
    topic's records do not carry the broker's time, TopicRecreated (unless the new topic's id is `accept_topic`),
    TooMuchPoison, and KafkaException when the consumer is fenced by another with the same `group_instance_id`.
    """
    if not logging.getLogger("steptrail").hasHandlers():
        configure_logging()
    topics = Topics(settings.topic_prefix)
    topic, group = topics.steps.name, topics.health_group
    member = f"{socket.gethostname()}:{os.getpid()}"
    shared = {**settings.kafka_config(), "logger": _kafka_log}
    rules = RulesFile(Path(settings.health_rules).expanduser() if settings.health_rules else None)
    status, metrics, progress = JudgingStatus(rules=rules), ProjectorMetrics("steptrail_health"), Progress()
    questions = BrokerQuestions(shared, topic)
    watch = TopicWatch(shared, topic, lambda: feed.leading)
    feed = status.feed = LeaderFeed(topics.health.name, lambda: watch.count)
    monitor = HealthMonitor(progress, status, metrics, LagWatch(questions), log=_log)
    schemas = WriterSchemas.of(settings)
    clickhouse = connect(settings, timeout=STORE_TIMEOUT_S)
    sink = HealthSink(
        clickhouse,
        questions,
        group=group,
        schemas=schemas,
        limit=PoisonLimit.of(settings),
        accept_topic=accept_topic,
    )
    ending = _Either(stop)
    stalls = JudgedStalls(
        StallWatch.open(settings, clickhouse, member), progress, rules, lambda: sink.topic_id
    )
    judged = connect(settings, timeout=JUDGING_TIMEOUT_S)
    judging = status.judging = Judging(
        judged,
        VerdictTopic(shared, topics.health.name, group),
        progress,
        watch,
        rules,
        leading=lambda: feed.leading,
        member=member,
        stop=ending,
        stalls=stalls,
        policy=policy,
        waiting=lambda: status.waiting_for if status.state is State.WAITING else None,
    )
    counting = Counting(
        clickhouse, progress, lambda: sink.topic_id, leading=lambda: feed.leading, stop=ending
    )
    server = None
    if settings.metrics_port is not None:
        server = StatusServer(status, metrics, host=settings.metrics_host, port=settings.metrics_port)
        _log.info("serving metrics", extra={"host": settings.metrics_host, "port": server.port})
    try:
        watch.start()
        judging.start()
        counting.start()
        with rarely_collected():
            ConsumeLoop(
                Consumer({**consumer_config(settings, group, monitor), "enable.partition.eof": True}),
                topic,
                sink,
                lambda positions: Buffer(schemas.new_builder, positions),
                limits=BatchLimits(
                    settings.batch_max_events, settings.batch_max_bytes, settings.batch_max_age_s
                ),
                monitor=monitor,
                feed=feed,
                shutdown_timeout=settings.shutdown_timeout_s,
            ).run(ending)
    finally:
        deadline = Deadline(settings.shutdown_timeout_s)
        ending.set()
        judging.join(deadline.share(0.5).remaining())
        counting.join(deadline.share(0.5).remaining())
        watch.close(deadline.remaining())
        stalls.close()
        judged.close()
        clickhouse.close()
        if server is not None:
            server.close()
    for failure in (judging.failure, counting.failure):
        if failure is not None:
            raise failure
    return 0


class _Either(threading.Event):
    """Set when it is set, or `other` is."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        return super().is_set() or self._other.is_set()


if __name__ == "__main__":
    import signal

    _stop = threading.Event()
    for _number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(_number, lambda *_: _stop.set())
    raise SystemExit(run_health(Settings(), _stop))
