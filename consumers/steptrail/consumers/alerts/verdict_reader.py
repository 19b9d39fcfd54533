"""The health topic, read from its beginning by the one member of the group that holds its partition."""

from __future__ import annotations

import logging

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from steptrail.consumers.alerts.model.alert import BadAlert
from steptrail.consumers.alerts.model.levels import Level, levels_of
from steptrail.consumers.alerts.topics import at_end, reading_config, text_key
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.consumers.alerts")


class Verdicts:
    """What the verdicts say is wrong, by key of the health topic. Only what is wrong is kept.

    `joined`: the group has let it in. `active`: the group gave the topic to this consumer. `complete`: all that is
    there has been read, so that what is not in `levels` is well. Where the group was before is of no account: levels
    are read from the beginning.
    """

    def __init__(self, settings: Settings) -> None:
        topics = Topics(settings.topic_prefix)
        self.levels: dict[str, tuple[Level, ...]] = {}
        self.joined = False
        self.active = False
        self.complete = False
        self.heard = 0
        self.version = 0
        self.next_offset: int | None = None
        self._committed: int | None = None
        self._topic = topics.health.name
        self._where = settings.kafka
        config = reading_config(settings, topics.alerts_group)
        if settings.group_instance_id is not None:
            config["group.instance.id"] = settings.group_instance_id
        self._consumer = Consumer({**config, "partition.assignment.strategy": "range"})
        self._consumer.subscribe(
            [self._topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    def poll(self, timeout: float) -> bool:
        """Take in what has come; waits `timeout` seconds at most for a first record. Whether anything changed.

        Raises BrokerUnavailable and TopicMissing.
        """
        before = self.version
        for message in self._consumer.consume(1000, timeout):
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF and not error.fatal():
                if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
                    at_end(message, self._where)
                _log.warning("kafka: %s", error.str())
                continue
            if at_end(message, self._where):
                self.version += not self.complete
                self.complete = True
                continue
            self.version += 1
            self.heard += 1
            self.next_offset = (message.offset() or 0) + 1
            key, value = text_key(message), message.value()
            if not isinstance(value, bytes):
                self.levels.pop(key, None)
                continue
            try:
                self.levels[key] = levels_of(value)
            except BadAlert as fault:
                _log.warning(
                    "passed over: %s", fault, extra={"topic": self._topic, "offset": message.offset()}
                )
                continue
            if not self.levels[key]:
                del self.levels[key]
        return self.version != before

    def commit(self) -> None:
        """Say how far the group is; only for those who look at its lag."""
        if self.active and self.next_offset is not None and self.next_offset != self._committed:
            self._committed = self.next_offset
            try:
                self._consumer.commit(
                    offsets=[TopicPartition(self._topic, 0, self.next_offset)], asynchronous=True
                )
            except KafkaException as error:
                _log.debug("commit failed: %s", error)

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._forget()
        self.joined, self.active = True, bool(partitions)
        consumer.assign([TopicPartition(each.topic, each.partition, OFFSET_BEGINNING) for each in partitions])
        _log.info("partitions assigned", extra={"partitions": [each.partition for each in partitions]})

    def _revoked(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        if partitions:
            self._forget()
            _log.info("partitions revoked")

    def _forget(self) -> None:
        self.active = self.complete = False
        self.heard = 0
        self.next_offset = self._committed = None
        self.levels.clear()
        self.version += 1
