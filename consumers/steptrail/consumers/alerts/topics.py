"""What the compacted topics of alerting say, read from their beginnings to their ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from steptrail.consumers.alerts.model.alert import Alert, BadAlert
from steptrail.consumers.alerts.model.notification import Notification, Told, record_of
from steptrail.consumers.alerts.model.silence import Silence
from steptrail.consumers.kafka.broker import BrokerUnavailable, TopicMissing
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.consumers.alerts")
_kafka_log = logging.getLogger("steptrail.kafka")

READ_TIMEOUT_S = 60.0


@dataclass
class Board:
    """The alerts by id, what targets were told by (target, alert id), what is on its way, the silences by id."""

    alerts: dict[str, Alert] = field(default_factory=dict)
    told: dict[tuple[str, str], Told] = field(default_factory=dict)
    sending: dict[str, Notification] = field(default_factory=dict)
    silences: dict[str, Silence] = field(default_factory=dict)


class BoardReader:
    """Reads the topics of alerts, notifications and silences, what is committed; of no group. Close it.

    Raises BrokerUnavailable and TopicMissing. A record that cannot be read is passed over, and said.
    """

    def __init__(self, settings: Settings, board: Board | None = None) -> None:
        topics = Topics(settings.topic_prefix)
        self.board = board or Board()
        self._where = settings.kafka
        self._names = {
            topics.alerts.name: self._alert,
            topics.notifications.name: self._notification,
            topics.silences.name: self._silence,
        }
        self._silences = topics.silences.name
        self._consumer = Consumer(reading_config(settings, f"{topics.alerts_group}-board"))
        self._assign(self._names)

    def read_all(self, timeout: float = READ_TIMEOUT_S) -> Board:
        """Everything up to the ends; `timeout` in seconds."""
        deadline = time.monotonic() + timeout
        ends: set[str] = set()
        while len(ends) < len(self._names):
            left = deadline - time.monotonic()
            if left <= 0:
                raise BrokerUnavailable(f"Kafka at {self._where} did not answer within {timeout:g} s")
            for message in self._consumer.consume(1000, min(left, 0.2)):
                if at_end(message, self._where):
                    ends.add(message.topic() or "")
                else:
                    self._take(message)
        return self.board

    def follow_silences(self) -> None:
        """From now on `poll` brings silences only: who writes the other topics knows what is there."""
        (where,) = [
            each for each in self._consumer.position(self._everything()) if each.topic == self._silences
        ]
        self._consumer.assign([where])

    def poll(self) -> bool:
        """Take in what has come since, without waiting; whether anything had."""
        found = False
        for message in self._consumer.consume(1000, 0.0):
            if not at_end(message, self._where):
                self._take(message)
                found = True
        return found

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def _assign(self, names: Collection[str]) -> None:
        self._consumer.assign([TopicPartition(name, 0, OFFSET_BEGINNING) for name in names])

    def _everything(self) -> list[TopicPartition]:
        return [TopicPartition(name, 0) for name in self._names]

    def _take(self, message: Message) -> None:
        key, value = text_key(message), message.value()
        try:
            self._names[message.topic() or ""](key, value if isinstance(value, bytes) else None)
        except BadAlert as error:
            where = {"topic": message.topic(), "offset": message.offset()}
            _log.warning("passed over: %s", error, extra=where)

    def _alert(self, key: str, value: bytes | None) -> None:
        if value is None:
            self.board.alerts.pop(key, None)
        else:
            self.board.alerts[key] = Alert.from_bytes(value)

    def _silence(self, key: str, value: bytes | None) -> None:
        if value is None:
            self.board.silences.pop(key, None)
        else:
            self.board.silences[key] = Silence.from_bytes(value)

    def _notification(self, key: str, value: bytes | None) -> None:
        kind, _, rest = key.partition("\x1f")
        target, _, last = rest.partition("\x1f")
        if value is None:
            if kind == "told":
                self.board.told.pop((target, last), None)
            else:
                self.board.sending.pop(last, None)
            return
        record = record_of(key, value)
        if isinstance(record, Told):
            self.board.told[record.target, record.alert] = record
        else:
            self.board.sending[record.id] = record


def read_board(settings: Settings, timeout: float = READ_TIMEOUT_S) -> Board:
    """What the topics say now. Raises BrokerUnavailable and TopicMissing."""
    reader = BoardReader(settings)
    try:
        return reader.read_all(timeout)
    finally:
        reader.close()


def reading_config(settings: Settings, group: str) -> dict[str, Any]:
    """The librdkafka properties of a consumer that reads a compacted topic from its beginning to its end."""
    return {
        "isolation.level": "read_committed",
        "session.timeout.ms": 10_000,
        "topic.metadata.refresh.interval.ms": 15_000,
        "fetch.wait.max.ms": 100,
        **settings.kafka_config(),
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "logger": _kafka_log,
        "error_cb": lambda error: _log.debug("kafka: %s", error.str()),
    }


def at_end(message: Message, where: str) -> bool:
    """Whether it is no record but the end of its partition. Raises BrokerUnavailable and TopicMissing."""
    error = message.error()
    if error is None:
        return False
    if error.code() == KafkaError._PARTITION_EOF:
        return True
    raise fault_of(error, where, message.topic())


def fault_of(
    error: KafkaError | KafkaException, where: str, topic: str | None
) -> BrokerUnavailable | TopicMissing:
    """Kafka's error as ours."""
    reason = error.args[0] if isinstance(error, KafkaException) else error
    if isinstance(reason, KafkaError):
        if reason.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            named = topic or "of alerting"
            return TopicMissing(
                f"topic {named} does not exist on Kafka at {where}: `steptrail topics` creates it"
            )
        return BrokerUnavailable(f"Kafka at {where}: {reason.str()}")
    return BrokerUnavailable(f"Kafka at {where}: {reason}")


def text_key(message: Message) -> str:
    """A record's key as text; what is not UTF-8 is replaced."""
    key = message.key()
    return key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key or "")
