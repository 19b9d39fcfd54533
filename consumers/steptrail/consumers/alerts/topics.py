"""The state of alerting: the contents of its compacted topics, read from beginning to end."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from steptrail.consumers.alerts.model.alert import Alert, BadAlert
from steptrail.consumers.alerts.model.notification import Notification, Told, record_of
from steptrail.consumers.alerts.model.silence import Silence
from steptrail.consumers.kafka.compacted_topic import CompactedTopic
from steptrail.consumers.kafka.record import Record
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.consumers.alerts")

READ_TIMEOUT_S = 60.0


@dataclass
class Board:
    """Alerts by id, the last notification by (target, alert id), notifications in flight, silences by id."""

    alerts: dict[str, Alert] = field(default_factory=dict)
    told: dict[tuple[str, str], Told] = field(default_factory=dict)
    sending: dict[str, Notification] = field(default_factory=dict)
    silences: dict[str, Silence] = field(default_factory=dict)


class BoardReader:
    """Reads committed records of the alerts, notifications and silences topics, without a consumer group. Close it.

    Raises BrokerUnavailable and TopicMissing. A record that cannot be read is logged and skipped.
    """

    def __init__(self, settings: Settings, board: Board | None = None) -> None:
        topics = Topics(settings.topic_prefix)
        self.board = board or Board()
        self._appliers = {
            topics.alerts.name: self._alert,
            topics.notifications.name: self._notification,
            topics.silences.name: self._silence,
        }
        group = f"{topics.alerts_group}-board"
        self._topics = {name: CompactedTopic(settings.kafka_config(), name, group) for name in self._appliers}
        self._silences = self._topics[topics.silences.name]
        for topic in self._topics.values():
            topic.assign()

    def read_all(self, timeout: float = READ_TIMEOUT_S) -> Board:
        """Read to the ends; raises BrokerUnavailable after `timeout` seconds without a record."""
        for topic in self._topics.values():
            for record in topic.read_to_end(timeout):
                self._apply(record)
        return self.board

    def follow_silences(self) -> None:
        """Stop reading the other topics: only the owner of this reader writes them from now on."""
        for topic in self._topics.values():
            if topic is not self._silences:
                topic.close()
        self._topics = {self._silences.topic: self._silences}

    def poll(self) -> bool:
        """Apply new records of the topics still read, without waiting; returns whether there were any."""
        records = [record for topic in self._topics.values() for record in topic.poll(0.0)]
        for record in records:
            self._apply(record)
        return bool(records)

    def close(self) -> None:
        """Disconnect."""
        for topic in self._topics.values():
            topic.close()

    def _apply(self, record: Record) -> None:
        try:
            self._appliers[record.topic](record.key, record.value)
        except BadAlert as error:
            _log.warning(
                "skipped a record: %s", error, extra={"topic": record.topic, "offset": record.offset}
            )

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
    """Read the topics' current state. Raises BrokerUnavailable and TopicMissing."""
    reader = BoardReader(settings)
    try:
        return reader.read_all(timeout)
    finally:
        reader.close()
