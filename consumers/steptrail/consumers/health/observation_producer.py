"""The topic of observations: where it ends, and publishing that waits for the acknowledgement."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.kafka.producing import produce
from steptrail.consumers.runtime.deadline import Deadline
from steptrail.schemas.access.denials import error_said
from steptrail.schemas.access.rights import Right
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.observation import StepObservation, encode_observation
from steptrail.schemas.topics import Topics, message_key

_log = logging.getLogger("steptrail.consumers.stalls")

ACKNOWLEDGE_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class TopicEnd:
    """How long the topic is: by partition, the last offset that holds anything; without those that hold nothing."""

    topic: str
    topic_id: str
    last: dict[int, int]


class ObservationTopic:
    """Publishes observations, and says where their topic ends. One thread owns it."""

    def __init__(self, settings: Settings, *, timeout: float = ACKNOWLEDGE_TIMEOUT_S) -> None:
        self.topic = Topics(settings.topic_prefix).observations.name
        self._timeout = timeout
        self._config = {**settings.kafka_config(), "logger": logging.getLogger("steptrail.kafka")}
        self._questions = BrokerQuestions(self._config, self.topic)
        self._producer: Producer | None = None

    def end(self) -> TopicEnd:
        """What is on the topic now, this member's and everybody's.

        Raises BrokerUnavailable or TopicMissing.
        """
        described = self._questions.describe()
        partitions = range(described.partitions)
        first = self._questions.first_offsets(partitions)
        end = self._questions.end_offsets(partitions)
        last = {
            partition: end[partition] - 1 for partition in partitions if end[partition] > first[partition]
        }
        return TopicEnd(self.topic, described.topic_id, last)

    def publish(self, observations: Sequence[StepObservation]) -> list[StepObservation]:
        """Send them in this order and wait; returns those that the brokers have for sure.

        The others may be there too: who wants to know reads the topic. Does not raise when Kafka is away.
        """
        if not observations:
            return []
        producer = self._producer = self._producer or Producer(
            {
                **self._config,
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "message.timeout.ms": int(self._timeout * 1000),
                "linger.ms": 5,
            }
        )
        deadline = Deadline(self._timeout)
        acknowledged: list[StepObservation] = []
        refused: list[KafkaError] = []

        for observation in observations:

            def answered(
                error: KafkaError | None, _: Message, observation: StepObservation = observation
            ) -> None:
                if error is None:
                    acknowledged.append(observation)
                else:
                    refused.append(error)

            if not self._sent(producer, observation, answered, deadline):
                break
        # message.timeout.ms ends the wait by itself; the extra second lets it say so.
        try:
            producer.flush(deadline.remaining() + 1.0)
        except KafkaException as error:  # a fatal one: this producer sends nothing more
            self._producer = None
            _log.warning("observations were not sent: %s", self._said(error))
        if refused:
            _log.warning("observations were not sent: %s", self._said(refused[0]))
        return acknowledged

    def _said(self, error: KafkaError | KafkaException) -> str:
        return error_said(error, self._config, Right("Write", "topic", self.topic))

    def close(self, timeout: float = 1.0) -> None:
        """Let go of the connection."""
        if self._producer is not None:
            self._producer.flush(timeout)
            self._producer = None

    def _sent(
        self, producer: Producer, observation: StepObservation, answered: Any, deadline: Deadline
    ) -> bool:
        key, value = message_key(observation.pipeline, observation.doc_id), encode_observation(observation)
        try:
            produce(producer, self.topic, deadline, value=value, key=key, on_delivery=answered)
        except BufferError:
            return False
        except KafkaException as error:
            _log.warning("an observation was not sent: %s", self._said(error))
            return False
        producer.poll(0)
        return True
