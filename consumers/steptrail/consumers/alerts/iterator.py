"""Alerts for your own programs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, TopicPartition

from steptrail.consumers.alerts.model.alert import Alert, BadAlert
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.kafka.compacted_topic import CompactedTopic
from steptrail.consumers.kafka.errors import error_text, infrastructure_error
from steptrail.consumers.kafka.record import Record
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.consumers.alerts")

POLL_S = 0.2


def alerts(
    settings: Settings,
    *,
    group: str | None = None,
    follow: bool = True,
    stop: threading.Event | None = None,
) -> Iterator[Alert]:
    """Each alert when it fires, when its severity changes, and when it is resolved.

    It begins with what fires now. With a `group` it goes on where that group was: an alert counts as dealt with
    when the next one is asked for, so one that was being dealt with when the program died comes again, with the
    same `id`, `episode` and `status`. Of an alert that changed meanwhile only the latest is told. One that only has
    later evidence is not told again, unless the program was started anew. Of several programs with one group, one
    gets the alerts and the others wait.

    It ends when `stop` is set, or, without `follow`, when all that is there has been told. While Kafka is away it
    waits. Raises TopicMissing, and BrokerUnavailable when Kafka refuses for good.
    """
    name = Topics(settings.topic_prefix).alerts.name
    topic = CompactedTopic(settings.kafka_config(), name, group or f"{name}-reader")
    stop = stop or threading.Event()
    start, started = _Start(), set[str]()
    told: dict[str, tuple[str, str, HealthStatus]] = {}
    try:
        if group is None:
            topic.assign()
        else:
            topic.subscribe(on_assign=start.assigned)
        while not stop.is_set():
            latest = {record.key: record for record in topic.poll(POLL_S)}
            for record in sorted(latest.values(), key=lambda each: each.offset):
                alert = _alert_in(record)
                # Whoever never heard of it need not hear that it is over.
                if alert is not None and (alert.firing or not start.fresh or alert.id in started):
                    if start.fresh:
                        started.add(alert.id)
                    # The same alert with later evidence, or with examples, is no news.
                    what = (alert.episode, alert.status, alert.severity)
                    if told.get(alert.id) != what:
                        told[alert.id] = what
                        yield alert
                    if not alert.firing:
                        told.pop(alert.id)
                if group is not None:
                    _commit(topic, record)
            if topic.at_end:
                start.fresh = False
                if not follow:
                    return
    except KafkaException as error:
        raise infrastructure_error(error, settings.kafka_config(), name) from None
    finally:
        topic.close()


class _Start:
    """Where reading begins; `fresh` until what is there at the first start has been read."""

    def __init__(self) -> None:
        self.fresh = True

    def assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = consumer.committed(partitions, timeout=30.0) if partitions else []
        for place in places:
            if place.error is not None:
                raise KafkaException(place.error)
            if place.offset >= 0:
                self.fresh = False
        consumer.assign(places)


def _alert_in(record: Record) -> Alert | None:
    if record.value is None:
        return None  # the alert was forgotten; that it was resolved has been told before
    try:
        return Alert.from_bytes(record.value)
    except BadAlert as error:
        _log.warning("skipped a record: %s", error, extra={"offset": record.offset})
        return None


def _commit(topic: CompactedTopic, record: Record) -> None:
    try:
        topic.commit(record.offset + 1, wait=True)
    except KafkaException as error:
        _log.warning("commit failed; the last alert may come again: %s", error_text(error))
