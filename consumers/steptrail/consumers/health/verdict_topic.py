"""The compacted health topic: the verdicts that stand on it, and publishing each change once.

Members publish in transactions under one transactional id. Opening it fences the member before for good, and only
then is the topic read; so nothing is published twice, whichever member dies when, or comes back late.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from confluent_kafka import KafkaException

from steptrail.consumers.kafka.compacted_topic import CompactedTopic
from steptrail.consumers.kafka.errors import BrokerUnavailable
from steptrail.consumers.kafka.record import Record
from steptrail.consumers.kafka.transactional_writer import TransactionalWriter, TransactionLost
from steptrail.schemas.access.denials import error_said

_log = logging.getLogger("steptrail.consumers.judging")

Key = tuple[str, str]
"""(pipeline, step); the step is empty for a pipeline, both are for everything."""

SEPARATOR = "\x1f"
TIMEOUT_S = 10.0


class VerdictTopic:
    """Messages by key, as JSON objects; None is a tombstone. One thread owns it.

    Raises BrokerUnavailable, TopicMissing and TransactionLost, and opens itself anew with the next call.
    """

    def __init__(self, config: Mapping[str, Any], topic: str, group: str) -> None:
        self._config = dict(config)
        self._topic = topic
        self._group = group
        self._writer: TransactionalWriter | None = None
        self._standing: dict[Key, dict[str, Any]] = {}

    def standing(self) -> Mapping[Key, dict[str, Any]]:
        """The verdicts on the topic by key; opens it first."""
        self._opened()
        return self._standing

    def publish(self, messages: Sequence[tuple[Key, dict[str, Any] | None]]) -> None:
        """Publish all of them, in one transaction."""
        writer = self._opened()
        try:
            writer.write(
                [
                    Record(self._topic, SEPARATOR.join(key), None if value is None else orjson.dumps(value))
                    for key, value in messages
                ]
            )
        except TransactionLost:
            self.close()  # reading the topic again shows whether it was committed
            raise
        for key, value in messages:
            if value is None:
                self._standing.pop(key, None)
            else:
                self._standing[key] = value

    def close(self) -> None:
        """Let go; an open transaction is aborted by whoever opens it next, or by its time-out."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _opened(self) -> TransactionalWriter:
        if self._writer is None:
            writer = TransactionalWriter(self._config, self._group, timeout=TIMEOUT_S)
            self._standing = self._read()
            self._writer = writer
        return self._writer

    def _read(self) -> dict[Key, dict[str, Any]]:
        standing: dict[Key, dict[str, Any]] = {}
        try:
            topic = CompactedTopic(self._config, self._topic, self._group)
        except KafkaException as error:
            raise BrokerUnavailable(
                f"cannot open {self._topic}: {error_said(error, self._config)}"
            ) from error
        try:
            topic.assign()
            for record in topic.read_to_end(TIMEOUT_S):
                _take(standing, record)
        finally:
            topic.close()
        return standing


def _take(standing: dict[Key, dict[str, Any]], record: Record) -> None:
    pipeline, _, step = record.key.partition(SEPARATOR)
    if record.value is None:
        standing.pop((pipeline, step), None)
        return
    try:
        verdict = orjson.loads(record.value)
    except orjson.JSONDecodeError:
        _log.warning("skipped a record of the health topic that is not JSON", extra={"offset": record.offset})
        return
    if isinstance(verdict, dict):
        standing[pipeline, step] = verdict
