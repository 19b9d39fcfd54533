"""The compacted health topic: what stands on it, and publishing what does not stand there yet, each change once.

A member publishes in transactions under one id that all members share. Whoever opens it fences the one before for
good, then reads what stands on the topic; so nothing is said twice, whoever dies when, and whoever comes back late.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from steptrail.consumers.kafka.broker import BrokerUnavailable

_log = logging.getLogger("steptrail.consumers.judging")
_kafka_log = logging.getLogger("steptrail.kafka")

Key = tuple[str, str]
"""(pipeline, step); the step is empty for a pipeline, both are for everything."""

SEPARATOR = "\x1f"
TIMEOUT_S = 10.0


class VerdictTopic:
    """Messages by key, as JSON objects; None is a tombstone. One thread owns it.

    Raises BrokerUnavailable for whatever goes wrong, and opens itself anew with the next call.
    """

    def __init__(self, config: Mapping[str, Any], topic: str, group: str) -> None:
        self._config = dict(config)
        self._topic = topic
        self._group = group
        self._producer: Producer | None = None
        self._standing: dict[Key, dict[str, Any]] = {}

    def standing(self) -> Mapping[Key, dict[str, Any]]:
        """What stands on the topic; opens it first."""
        self._opened()
        return self._standing

    def publish(self, messages: Sequence[tuple[Key, dict[str, Any] | None]]) -> None:
        """Publish all of them, in one transaction."""
        producer = self._opened()
        try:
            producer.begin_transaction()
            for key, value in messages:
                told = None if value is None else orjson.dumps(value)
                producer.produce(self._topic, key=SEPARATOR.join(key).encode(), value=told, partition=0)
                producer.poll(0)
            producer.commit_transaction(TIMEOUT_S)
        except (KafkaException, BufferError) as error:
            self.close()  # whether it was committed is seen when the topic is read again
            raise BrokerUnavailable(f"cannot publish on {self._topic}: {_said(error)}") from error
        for key, value in messages:
            if value is None:
                self._standing.pop(key, None)
            else:
                self._standing[key] = value

    def close(self) -> None:
        """Let go; an open transaction is aborted by whoever opens it next, or by its time-out."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(KafkaException):
                producer.purge()

    def _opened(self) -> Producer:
        if self._producer is not None:
            return self._producer
        try:
            producer = Producer(
                {
                    **self._config,
                    "transactional.id": self._group,
                    "transaction.timeout.ms": 15_000,
                    "message.timeout.ms": 10_000,
                    "linger.ms": 5,
                    "compression.type": "lz4",
                    "logger": _kafka_log,
                }
            )
            producer.init_transactions(TIMEOUT_S)
            self._standing = self._read()
        except KafkaException as error:
            raise BrokerUnavailable(f"cannot open {self._topic}: {_said(error)}") from error
        self._producer = producer
        return producer

    def _read(self) -> dict[Key, dict[str, Any]]:
        consumer = Consumer(
            {
                **self._config,
                "group.id": self._group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "logger": _kafka_log,
            }
        )
        standing: dict[Key, dict[str, Any]] = {}
        try:
            consumer.assign([TopicPartition(self._topic, 0, 0)])
            until = time.monotonic() + TIMEOUT_S
            while True:
                for message in consumer.consume(10_000, 0.2):
                    error = message.error()
                    if error is not None:
                        if error.code() == KafkaError._PARTITION_EOF:
                            return standing
                        raise KafkaException(error)
                    until = time.monotonic() + TIMEOUT_S
                    _take(standing, message.key(), message.value())
                if time.monotonic() > until:
                    raise BrokerUnavailable(f"{self._topic} cannot be read: no answer within {TIMEOUT_S:g} s")
        finally:
            consumer.close()


def _take(standing: dict[Key, dict[str, Any]], key: bytes | None, value: bytes | None) -> None:
    pipeline, _, step = (key or b"").decode("utf-8", "replace").partition(SEPARATOR)
    if value is None:
        standing.pop((pipeline, step), None)
        return
    try:
        told = orjson.loads(value)
    except orjson.JSONDecodeError:
        _log.warning("passed over a message of the health topic that is not JSON")
        return
    if isinstance(told, dict):
        standing[pipeline, step] = told


def _said(error: BaseException) -> str:
    reason = error.args[0] if error.args else error
    return reason.str() if isinstance(reason, KafkaError) else str(reason)
