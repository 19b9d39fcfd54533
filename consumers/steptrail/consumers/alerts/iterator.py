"""Alerts for programs of one's own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from steptrail.consumers.alerts.model.alert import Alert, BadAlert
from steptrail.consumers.alerts.topics import at_end, fault_of, reading_config, text_key
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.consumers.alerts")


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
    topic = Topics(settings.topic_prefix).alerts.name
    consumer = Consumer(
        {**reading_config(settings, group or f"{topic}-reader"), "partition.assignment.strategy": "range"}
    )
    stop = stop or threading.Event()
    start, started = _Start(), set[str]()
    told: dict[str, tuple[str, str, HealthStatus]] = {}
    try:
        if group is None:
            consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        else:
            consumer.subscribe([topic], on_assign=start.assigned)
        while not stop.is_set():
            latest, ended = _latest(consumer.consume(1000, 0.2), settings.kafka)
            for message in latest:
                alert = _alert_in(message)
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
                    _commit(consumer, message)
            if ended:
                start.fresh = False
                if not follow:
                    return
    except KafkaException as error:
        raise fault_of(error, settings.kafka, topic) from None
    finally:
        consumer.close()


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


def _latest(messages: list[Message], where: str) -> tuple[list[Message], bool]:
    """Of each alert the last record, in their order, and whether the end was reached."""
    latest: dict[str, Message] = {}
    ended = False
    for message in messages:
        error = message.error()
        if error is not None and error.code() in _PASSING:
            _log.warning("kafka: %s", error.str())
        elif at_end(message, where):
            ended = True
        else:
            key = text_key(message)
            latest.pop(key, None)
            latest[key] = message
    return list(latest.values()), ended


_PASSING = frozenset((KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE))


def _alert_in(message: Message) -> Alert | None:
    value = message.value()
    if not isinstance(value, bytes):
        return None  # forgotten; that it was resolved has been told before
    try:
        return Alert.from_bytes(value)
    except BadAlert as error:
        _log.warning("passed over: %s", error, extra={"offset": message.offset()})
        return None


def _commit(consumer: Consumer, message: Message) -> None:
    place = TopicPartition(message.topic() or "", message.partition() or 0, (message.offset() or 0) + 1)
    try:
        consumer.commit(offsets=[place], asynchronous=False)
    except KafkaException as error:
        _log.warning("commit failed; what was dealt with may come again: %s", error)
