"""Writing alerts and notifications: one writer at a time, all of a turn or nothing of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Producer

from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.redact import redact_message
from steptrail.schemas.topics import Topics

_kafka_log = logging.getLogger("steptrail.kafka")

TIMEOUT_S = 20.0
# A writer that was killed keeps its open transaction for so long, unless its successor ends it at once.
_TRANSACTION_MS = 30_000


class JournalLost(InfrastructureError):
    """What was to be written may be written or not, or somebody else writes now: read everything again."""


@dataclass(frozen=True)
class Record:
    """A record of a topic; `value` None is a tombstone."""

    topic: str
    key: str
    value: bytes | None


class Journal:
    """A transactional writer. Opening it puts an end to every other: what they write from then on is refused.

    Blocks for `TIMEOUT_S` at most; raises JournalLost, after which it is of no more use. Close it.
    """

    def __init__(self, settings: Settings) -> None:
        self._config = settings.kafka_config()
        self._where = settings.kafka
        group = Topics(settings.topic_prefix).alerts_group
        needed = {
            "transactional.id": group,
            "transaction.timeout.ms": _TRANSACTION_MS,
            "linger.ms": 0,
            "compression.type": "lz4",
            "client.id": f"{group}-{os.getpid()}",
            "logger": _kafka_log,
        }
        try:
            self._producer = Producer({**self._config, **needed})
            self._producer.init_transactions(TIMEOUT_S)
        except KafkaException as error:
            raise self._lost(error) from None

    def write(self, records: Sequence[Record]) -> None:
        """Write all of these, or raise."""
        try:
            self._producer.begin_transaction()
            for record in records:
                self._put(record)
            self._producer.commit_transaction(TIMEOUT_S)
        except KafkaException as error:
            raise self._lost(error) from None

    def close(self) -> None:
        """Let go of it, without waiting for what is not written."""
        self._producer.purge()

    def _put(self, record: Record) -> None:
        while True:
            try:
                self._producer.produce(record.topic, key=record.key.encode(), value=record.value)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _lost(self, error: KafkaException) -> JournalLost:
        reason = error.args[0]
        if isinstance(reason, KafkaError):
            if reason.code() in (
                KafkaError._FENCED,
                KafkaError.PRODUCER_FENCED,
                KafkaError.INVALID_PRODUCER_EPOCH,
            ):
                return JournalLost("another alerting consumer has taken over")
            said = redact_message(reason.str(), self._config)
            return JournalLost(f"Kafka at {self._where}: {said}")
        return JournalLost(f"Kafka at {self._where}: {redact_message(str(reason), self._config)}")
