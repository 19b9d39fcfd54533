"""Writing to compacted topics: one writer at a time, and all records of a transaction or none of them."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from steptrail.consumers.kafka.errors import reason_of
from steptrail.consumers.kafka.producing import produce
from steptrail.consumers.kafka.record import Record
from steptrail.consumers.runtime.deadline import Deadline
from steptrail.schemas.access.denials import error_said, is_denial
from steptrail.schemas.access.rights import Right
from steptrail.schemas.errors import InfrastructureError

_kafka_log = logging.getLogger("steptrail.kafka")

_FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)


class TransactionLost(InfrastructureError):
    """The transaction may be committed or not, or another member writes now: read the topics again, then open anew."""


class TransactionalWriter:
    """The only producer with its `transactional_id`: opening one fences the one before it for good.

    Every method blocks for about `timeout` seconds at most. After TransactionLost only `close` may be called.
    """

    def __init__(self, config: Mapping[str, Any], transactional_id: str, *, timeout: float) -> None:
        self._config = dict(config)
        self._id = transactional_id
        self._timeout = timeout
        needed = {
            "transactional.id": transactional_id,
            # A writer that was killed keeps its transaction open for so long, unless its successor aborts it.
            "transaction.timeout.ms": int(1500 * timeout),
            "message.timeout.ms": int(1000 * timeout),
            "linger.ms": 5,
            "compression.type": "lz4",
            "client.id": f"{transactional_id}-{os.getpid()}",
            "logger": _kafka_log,
        }
        try:
            self._producer = Producer({**self._config, **needed})
            self._producer.init_transactions(timeout)
        except KafkaException as error:
            raise self._lost(error) from None

    def write(self, records: Sequence[Record]) -> None:
        """Commit all records in one transaction, or raise TransactionLost."""
        deadline = Deadline(self._timeout)
        denied: list[tuple[KafkaError, str]] = []

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is not None and is_denial(error):
                denied.append((error, message.topic() or ""))

        try:
            self._producer.begin_transaction()
            for record in records:
                produce(
                    self._producer,
                    record.topic,
                    deadline,
                    key=record.key.encode(),
                    value=record.value,
                    partition=0,
                    on_delivery=on_delivery,
                )
                self._producer.poll(0)
            self._producer.commit_transaction(self._timeout)
        except (KafkaException, BufferError) as error:
            self._producer.poll(0)
            if denied:  # the transaction's own error only says that some message failed
                raise self._lost(KafkaException(denied[0][0]), denied[0][1]) from None
            raise self._lost(error, *sorted({record.topic for record in records})) from None

    def close(self) -> None:
        """Drop what is not written; an open transaction is aborted by the next writer, or by its time-out."""
        with contextlib.suppress(KafkaException):
            self._producer.purge()

    def _lost(self, error: KafkaException | BufferError, *topics: str) -> TransactionLost:
        reason = reason_of(error)
        if isinstance(reason, KafkaError) and reason.code() in _FENCED:
            return TransactionLost(f"another member of {self._id} has taken over")
        where = self._config.get("bootstrap.servers", "?")
        needed = [Right("Write", "topic", topic) for topic in topics]
        needed.append(Right("Write", "transactional-id", self._id))
        return TransactionLost(f"Kafka at {where}: {error_said(error, self._config, *needed)}")
