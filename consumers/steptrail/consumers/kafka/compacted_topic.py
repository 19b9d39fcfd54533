"""Reading a compacted topic: from its beginning to its end, then whatever comes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from steptrail.consumers.kafka.errors import (
    BrokerUnavailable,
    infrastructure_error,
    is_fatal,
    is_missing_topic,
)
from steptrail.consumers.kafka.record import Record
from steptrail.schemas.access.denials import is_denial, is_of_no_group
from steptrail.schemas.access.rights import Right

_log = logging.getLogger("steptrail.consumers.kafka")
_kafka_log = logging.getLogger("steptrail.kafka")

OnPartitions = Callable[[Consumer, list[TopicPartition]], None]

_AT_ONCE = 1000
_POLL_S = 0.2
_CHECK_S = 2.0
_PASSING = frozenset((KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE))


class CompactedTopic:
    """The committed records of a topic with one partition. One thread owns it; close it.

    Call `assign` to read on one's own, or `subscribe` to read as the member of `group` that holds the partition.
    `at_end` is True once everything has been read that the topic held when reading began.
    Errors that pass by themselves are logged; others are raised as BrokerUnavailable (AccessDenied among them) or
    TopicMissing. With `patient` only a missing topic, a missing right and fatal errors are raised: for a member whose
    consumer must live on.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        topic: str,
        group: str,
        *,
        group_instance_id: str | None = None,
        patient: bool = False,
    ) -> None:
        self.topic = topic
        self.at_end = False
        self._where = str(config.get("bootstrap.servers", "?"))
        self._config = dict(config)
        self._needed = (Right("Read", "topic", topic), Right("Read", "group", group))
        self._patient = patient
        self._joins = True
        self._failure: KafkaError | None = None
        needed = {
            "group.id": group,
            "partition.assignment.strategy": "range",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "logger": _kafka_log,
            "error_cb": lambda error: _log.debug("kafka: %s", error.str()),
        }
        if group_instance_id is not None:
            needed["group.instance.id"] = group_instance_id
        self._consumer = Consumer({**_DEFAULTS, **config, **needed})

    def assign(self) -> None:
        """Read from the beginning, outside of any group."""
        self._joins = False
        self._consumer.assign([TopicPartition(self.topic, 0, OFFSET_BEGINNING)])

    def subscribe(self, *, on_assign: OnPartitions, on_revoke: OnPartitions | None = None) -> None:
        """Join the group; `on_assign` must assign the partitions that it is given, each from an offset."""

        def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            self.at_end = False
            on_assign(consumer, partitions)

        if on_revoke is None:
            self._consumer.subscribe([self.topic], on_assign=assigned)
        else:
            self._consumer.subscribe([self.topic], on_assign=assigned, on_revoke=on_revoke, on_lost=on_revoke)

    def poll(self, timeout: float) -> list[Record]:
        """The next records; waits `timeout` seconds at most for the first of them.

        An error is raised once the records that came with it were returned: none is lost by it.
        """
        if (failure := self._failure) is not None:
            self._failure = None
            raise infrastructure_error(failure, self._config, self.topic, *self._needed)
        records = []
        for message in self._consumer.consume(_AT_ONCE, timeout):
            error = message.error()
            if error is None:
                records.append(_record(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                self.at_end = True
            elif not self._joins and is_of_no_group(error):
                _log.debug("kafka: %s", error.str())
            elif self._passes(error):
                _log.warning("kafka: %s", error.str(), extra={"topic": self.topic})
            elif not records:
                raise infrastructure_error(error, self._config, self.topic, *self._needed)
            else:
                self._failure = error
        return records

    def read_to_end(self, timeout: float) -> list[Record]:
        """Everything up to the end, oldest first; raises BrokerUnavailable after `timeout` seconds without a record."""
        found: list[Record] = []
        heard, checked = time.monotonic(), False
        while not self.at_end:
            if records := self.poll(_POLL_S):
                found += records
                heard = time.monotonic()
            elif not (checked or self.at_end):
                # A topic that this reader may not see, or that is not there, is only told by its metadata.
                self._check(min(_CHECK_S, timeout))
                checked = True
            elif not self.at_end and time.monotonic() - heard > timeout:
                raise BrokerUnavailable(
                    f"Kafka at {self._where} did not answer within {timeout:g} s: {self.topic} cannot be read"
                )
        return found

    def commit(self, next_offset: int, *, wait: bool) -> None:
        """Commit the group's offset; raises KafkaException."""
        offsets = [TopicPartition(self.topic, 0, next_offset)]
        if wait:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        else:
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def close(self) -> None:
        """Leave the group, if there is one, and disconnect."""
        self._consumer.close()

    def _check(self, timeout: float) -> None:
        try:
            error = self._consumer.list_topics(self.topic, timeout=timeout).topics[self.topic].error
        except KafkaException:
            return  # reading goes on, and says so when it took too long
        if error is not None and (is_missing_topic(error) or is_denial(error)):
            raise infrastructure_error(error, self._config, self.topic, *self._needed)

    def _passes(self, error: KafkaError) -> bool:
        if self._patient:
            return not (is_fatal(error) or is_missing_topic(error) or is_denial(error))
        return error.code() in _PASSING


_DEFAULTS = {
    "session.timeout.ms": 10_000,
    "topic.metadata.refresh.interval.ms": 15_000,
    "fetch.wait.max.ms": 100,
}


def _record(message: Message) -> Record:
    key, value, offset = message.key(), message.value(), message.offset()
    text = key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key or "")
    return Record(message.topic() or "", text, value if isinstance(value, bytes) else None, offset or 0)
