"""The end offset of each partition, asked for without making the loop wait."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException

from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.schemas.errors import InfrastructureError

ASK_EVERY_S = 2.0


class LagWatch:
    """Keeps the end offsets of the held partitions, some seconds old; works while they are paused.

    `ends` holds the last answers; `fault` says why the latest request failed, None if it did not. It is also how
    the loop notices that Kafka or the topic is away, since a consumer then just gets no messages; so it asks for
    partition 0 while none is held.
    """

    def __init__(self, questions: BrokerQuestions) -> None:
        self._questions = questions
        self._pending: dict[int, Future[Any]] = {}
        self._asked_at = float("-inf")
        self.ends: dict[int, int] = {}
        self.fault: str | None = None

    def refresh(self, partitions: Collection[int], now: float) -> None:
        """Take in the answers that have come; ask again when it is time."""
        if self._pending:
            if not all(future.done() for future in self._pending.values()):
                return
            self._take(self._pending)
            self._pending = {}
        if now - self._asked_at >= ASK_EVERY_S:
            self._asked_at = now
            try:
                self._pending = self._questions.end_offsets_async(list(partitions) or [0])
            except InfrastructureError as error:
                self.fault = str(error)

    def _take(self, answers: dict[int, Future[Any]]) -> None:
        fault = None
        for partition, future in answers.items():
            try:
                self.ends[partition] = future.result().offset
            except KafkaException as error:
                fault = str(self._questions.fault(error))
        self.fault = fault
