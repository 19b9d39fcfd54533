"""Reads the health topic from its beginning, in the group member that holds its partition."""

from __future__ import annotations

import logging

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from steptrail.consumers.alerts.model.alert import BadAlert
from steptrail.consumers.alerts.model.levels import Level, levels_of
from steptrail.consumers.kafka.compacted_topic import CompactedTopic
from steptrail.consumers.kafka.errors import error_text
from steptrail.consumers.kafka.record import Record
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.consumers.alerts")


class VerdictReader:
    """The unhealthy levels, by key of the health topic; healthy ones are not kept.

    `joined`: this consumer is a member of the group. `active`: the group has assigned it the topic. `complete`: the
    topic was read to its end, so whatever is not in `levels` is healthy. Committed offsets do not matter: the topic
    is read from its beginning after each assignment.
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
        self._topic = CompactedTopic(
            settings.kafka_config(),
            topics.health.name,
            topics.alerts_group,
            group_instance_id=settings.group_instance_id,
            patient=True,
        )
        self._topic.subscribe(on_assign=self._assigned, on_revoke=self._revoked)

    def poll(self, timeout: float) -> bool:
        """Apply new records; waits at most `timeout` seconds for the first. Returns whether anything changed.

        Raises BrokerUnavailable and TopicMissing.
        """
        before = self.version
        for record in self._topic.poll(timeout):
            self._apply(record)
        if self.active and self._topic.at_end and not self.complete:
            self.complete = True
            self.version += 1
        return self.version != before

    def commit(self) -> None:
        """Commit the group's offset, for tools that show its lag."""
        if self.active and self.next_offset is not None and self.next_offset != self._committed:
            self._committed = self.next_offset
            try:
                self._topic.commit(self.next_offset, wait=False)
            except KafkaException as error:
                _log.debug("commit failed: %s", error_text(error))

    def close(self) -> None:
        """Leave the group."""
        self._topic.close()

    def _apply(self, record: Record) -> None:
        self.version += 1
        self.heard += 1
        self.next_offset = record.offset + 1
        if record.value is None:
            self.levels.pop(record.key, None)
            return
        try:
            levels = levels_of(record.value)
        except BadAlert as error:
            _log.warning(
                "skipped a record: %s", error, extra={"topic": record.topic, "offset": record.offset}
            )
            return
        if levels:
            self.levels[record.key] = levels
        else:
            self.levels.pop(record.key, None)

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
