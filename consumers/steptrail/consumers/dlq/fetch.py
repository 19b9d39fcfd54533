"""Reads dead letters from their topic, at the partitions and offsets that the table holds."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from steptrail.consumers.kafka.errors import BrokerUnavailable, infrastructure_error
from steptrail.schemas.access.denials import is_denial, is_of_no_group
from steptrail.schemas.access.rights import Right

Place = tuple[int, int]

# Reading over so many letters that are not wanted is cheaper than asking for another place.
_GAP = 500
_SILENCE_S = 15.0


class LetterReader:
    """Reads messages of `topic` by partition and offset, outside of any group. A context manager."""

    def __init__(self, config: Mapping[str, Any], topic: str) -> None:
        self._topic = topic
        self._config = dict(config)
        self._needed = Right("Read", "topic", topic)
        self._consumer = Consumer(
            {
                **config,
                "group.id": "steptrail-dlq",  # never joined
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": 16 * 1024,
            }
        )

    def read(self, places: Collection[Place]) -> dict[Place, Message]:
        """The messages at these places; those that are gone (expired, or never there) are left out.

        Raises BrokerUnavailable when Kafka does not answer.
        """
        found: dict[Place, Message] = {}
        for partition in sorted({partition for partition, _ in places}):
            first, end = self._bounds(partition)
            wanted = sorted(offset for p, offset in places if p == partition and first <= offset < end)
            for run in _runs(wanted):
                found.update(self._read_run(partition, run))
        return found

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def __enter__(self) -> LetterReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bounds(self, partition: int) -> tuple[int, int]:
        try:
            refused = self._consumer.list_topics(self._topic, timeout=_SILENCE_S).topics[self._topic].error
            if is_denial(refused):  # asked for a partition, it would only say that there is none
                raise KafkaException(refused)
            bounds = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, partition), timeout=_SILENCE_S
            )
        except KafkaException as error:
            if error.args[0].code() == KafkaError._UNKNOWN_PARTITION:
                return 0, 0
            raise infrastructure_error(error, self._config, self._topic, self._needed) from error
        if bounds is None:
            raise BrokerUnavailable(f"the dead-letter topic {self._topic} does not answer")
        return bounds

    def _read_run(self, partition: int, wanted: list[int]) -> dict[Place, Message]:
        found: dict[Place, Message] = {}
        left = set(wanted)
        self._consumer.assign([TopicPartition(self._topic, partition, wanted[0])])
        heard = time.monotonic()
        while True:
            for message in self._consumer.consume(500, 0.2):
                heard = time.monotonic()
                error, offset = message.error(), message.offset()
                if error is not None:
                    if is_of_no_group(error):
                        continue
                    if (
                        error.code() == KafkaError._PARTITION_EOF
                        or error.code() == KafkaError._AUTO_OFFSET_RESET
                    ):
                        return found  # the end, or it expired just now
                    raise infrastructure_error(error, self._config, self._topic, self._needed)
                if offset in left:
                    left.discard(offset)
                    found[partition, offset] = message
                if offset is not None and offset >= wanted[-1]:
                    return found
            if time.monotonic() - heard > _SILENCE_S:
                raise BrokerUnavailable(
                    f"the dead-letter topic {self._topic}: nothing came within {_SILENCE_S:g} s"
                )


def _runs(offsets: list[int]) -> list[list[int]]:
    """Ascending offsets, cut where the way to the next is long."""
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and offset - runs[-1][-1] <= _GAP:
            runs[-1].append(offset)
        else:
            runs.append([offset])
    return runs
