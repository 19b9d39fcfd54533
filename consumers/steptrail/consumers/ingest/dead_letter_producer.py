"""Sends messages that are no events to the dead-letter topic, unchanged, with the reason, and waits for the brokers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from steptrail.consumers.kafka.producing import produce
from steptrail.consumers.runtime.deadline import Deadline
from steptrail.schemas.access.denials import error_said
from steptrail.schemas.access.rights import Right
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.wire import headers as names

ACKNOWLEDGE_TIMEOUT_S = 30.0
_MAX_MESSAGE_BYTES = 2 * 1024 * 1024


class DeadLettersUnavailable(InfrastructureError):
    """The dead-letter topic did not acknowledge: wait and send again; until then nothing is committed."""


@dataclass(frozen=True)
class DeadLetter:
    """A message and why it is set aside.

    `reason` is from a small stable set (a DecodeReason, or REFUSED_BY_STORE); `stage` is where it was found
    out, in Kafka Connect's words VALUE_CONVERTER or TASK_PUT; `position` is the byte of the value that is
    wrong, where one is; `field` the event's field it lies in.
    """

    message: Message
    reason: str
    explanation: str
    stage: str
    exception_class: str
    position: int | None = None
    field: str | None = None

    @property
    def offset(self) -> tuple[int, int]:
        """Partition and offset."""
        partition, offset = self.message.partition(), self.message.offset()
        assert partition is not None
        assert offset is not None
        return partition, offset

    def headers(self, connector: str, task: str, topic_id: str | None) -> names.Headers:
        """The message's own headers, then Kafka Connect's, then ours. Values are UTF-8 text."""
        partition, offset = self.offset
        context: dict[str, object] = {
            f"{names.CONNECT}topic": self.message.topic(),
            f"{names.CONNECT}partition": partition,
            f"{names.CONNECT}offset": offset,
            f"{names.CONNECT}connector.name": connector,
            f"{names.CONNECT}task.id": task,
            f"{names.CONNECT}stage": self.stage,
            f"{names.CONNECT}class.name": "steptrail.consumers.ingest.bad_records",
            f"{names.CONNECT}exception.class.name": self.exception_class,
            f"{names.CONNECT}exception.message": self.explanation,
            names.REASON: self.reason,
            names.POSITION: self.position,
            names.FIELD: self.field,
            names.BROKER_TIME_MS: self.message.timestamp()[1],
            names.TOPIC_ID: topic_id,
        }
        own = [(k, v) for k, v in names.header_list(self.message.headers()) if k not in context]
        return [*own, *((k, str(v).encode()) for k, v in context.items() if v is not None)]


class DeadLetters:
    """Sends dead letters to `topic` and waits until the brokers have them.

    Where an acknowledgement was lost the letter may be there twice; the topic's id, partition and offset in its
    headers identify it.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        topic: str,
        *,
        connector: str,
        task: str,
        timeout: float = ACKNOWLEDGE_TIMEOUT_S,
    ) -> None:
        self._config = {
            **config,
            "acks": "all",
            "enable.idempotence": True,
            "compression.type": "lz4",
            "message.max.bytes": _MAX_MESSAGE_BYTES,
            "message.timeout.ms": int(timeout * 1000),
            "linger.ms": 5,
            # Each report would wait for Python's lock, a thousand times in a batch; what is not reported and not
            # waiting any more was acknowledged.
            "delivery.report.only.error": True,
        }
        self._topic = topic
        self._connector = connector
        self._task = task
        self._timeout = timeout
        self._producer: Producer | None = None
        # Acknowledged, but perhaps not yet covered by a written batch: a retry need not send them again.
        self._acknowledged: set[tuple[int, int]] = set()

    def send(self, letters: Sequence[DeadLetter], topic_id: str | None = None) -> None:
        """Send all and wait for all; `topic_id` is the Kafka id of the topic that they were read from.

        Raises DeadLettersUnavailable when any was not acknowledged in time.
        """
        pending = [letter for letter in letters if letter.offset not in self._acknowledged]
        if not pending:
            return
        producer = self._producer = self._producer or Producer(self._config)
        failed: dict[tuple[int, int], KafkaError] = {}
        deadline = Deadline(self._timeout)

        for letter in pending:

            def refused(
                error: KafkaError | None, _: Message, offset: tuple[int, int] = letter.offset
            ) -> None:
                if error is not None:
                    failed[offset] = error

            self._produce(producer, letter, topic_id, refused, deadline)
        try:
            # message.timeout.ms ends the wait by itself; the extra second lets its error arrive.
            left = producer.flush(deadline.remaining() + 1.0)
        except KafkaException as error:  # a fatal one: this producer sends nothing more
            self._producer = None
            raise DeadLettersUnavailable(
                f"the dead-letter topic {self._topic}: {self._said(error)}"
            ) from None
        if not left:
            self._acknowledged.update(letter.offset for letter in pending if letter.offset not in failed)
        if failed or left:
            why = self._said(next(iter(failed.values()))) if failed else "no answer"
            missing = f"{len(failed) + left} of {len(pending)} not acknowledged ({why})"
            raise DeadLettersUnavailable(f"the dead-letter topic {self._topic}: {missing}")

    def _said(self, error: BaseException | KafkaError) -> str:
        return error_said(error, self._config, Right("Write", "topic", self._topic))

    def written(self, done: Mapping[int, int]) -> None:
        """Offsets before `done` (by partition) are in the ledger; those letters will not be asked for again."""
        self._acknowledged = {(p, o) for p, o in self._acknowledged if p not in done or o >= done[p]}

    def close(self, timeout: float = 1.0) -> None:
        """Let go of the connection."""
        if self._producer is not None:
            self._producer.flush(timeout)
            self._producer = None

    def _produce(
        self, producer: Producer, letter: DeadLetter, topic_id: str | None, refused: Any, deadline: Deadline
    ) -> None:
        message = letter.message
        headers = letter.headers(self._connector, self._task, topic_id)
        try:
            produce(
                producer,
                self._topic,
                deadline,
                value=message.value(),
                key=message.key(),
                headers=headers,
                on_delivery=refused,
            )
        except (BufferError, KafkaException) as error:
            if isinstance(error, KafkaException):
                self._producer = None
            raise DeadLettersUnavailable(
                f"the dead-letter topic {self._topic}: {self._said(error)}"
            ) from error
