"""Operations of the loop's Kafka consumer other than reading: assign, pause, resume, commit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

from steptrail.consumers.kafka.errors import error_text
from steptrail.consumers.runtime.deadline import Deadline

_log = logging.getLogger("steptrail.consumers.assignment")


class Assignment:
    """The partitions of `topic` that `consumer` reads; may lag behind what the group has assigned.

    An assigned partition is not read until `place` is called with its offset. Kafka's errors are logged, not raised:
    the assignment may already be gone, and the next read calls the revoke callback.
    """

    def __init__(self, consumer: Consumer, topic: str, *, commits: bool = True) -> None:
        self._consumer = consumer
        self._topic = topic
        self._commits = commits
        self._placed: set[int] = set()

    def accept(self) -> None:
        """During a rebalance: acknowledge the assignment without reading any of it yet."""
        self._consumer.incremental_assign([])

    def give_up(self, partitions: Collection[int]) -> None:
        """During a rebalance: unassign these partitions."""
        placed = sorted(self._placed.intersection(partitions))
        self._consumer.incremental_unassign([TopicPartition(self._topic, number) for number in placed])
        self._placed.difference_update(placed)

    def place(self, partition: int, offset: int) -> bool:
        """Read a partition from `offset` on; returns whether that succeeded.

        Drops everything prefetched of it. It reassigns the partition rather than seeking: a seek is refused, or
        ignored, in several states of the fetcher, such as after an offset out of range.
        """
        try:
            if partition in self._placed:
                self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])
                self._placed.discard(partition)
            self._consumer.incremental_assign([TopicPartition(self._topic, partition, offset)])
        except KafkaException as error:
            _log.warning(
                "cannot read partition %d from offset %d yet: %s",
                partition,
                offset,
                error_text(error),
                extra={"topic": self._topic},
            )
            return False
        self._placed.add(partition)
        self.resume([partition])
        return True

    def pause(self, partitions: Collection[int]) -> None:
        """Stop reading these; drops what was prefetched of them."""
        self._switch(self._consumer.pause, partitions)

    def resume(self, partitions: Collection[int]) -> None:
        """Continue reading these from where they stopped."""
        self._switch(self._consumer.resume, partitions)

    def commit(self, offsets: Mapping[int, int], *, wait: bool = False) -> bool:
        """Commit offsets by partition; returns whether it was sent (and, with `wait`, acknowledged).

        A failed commit does no harm: the ledger is authoritative, and the next commit brings the group up to date.
        """
        if not offsets or not self._commits:
            return False
        entries = [TopicPartition(self._topic, number, offset) for number, offset in offsets.items()]
        try:
            if wait:
                self._consumer.commit(offsets=entries, asynchronous=False)
            else:
                self._consumer.commit(offsets=entries, asynchronous=True)
        except KafkaException as error:
            _log.warning("commit failed: %s", error_text(error), extra={"topic": self._topic})
            return False
        return True

    def close(self, offsets: Mapping[int, int], deadline: Deadline, *, leave: bool) -> None:
        """Commit `offsets` and close the consumer; with `leave` it leaves the group also as a static member."""
        self.commit(offsets, wait=True)
        try:
            if leave:
                # `close` alone lets a static member stay; to unsubscribe first makes it leave.
                leaving = deadline.share(0.3)  # without a broker there is no leaving
                self._consumer.unsubscribe()
                while self._consumer.memberid() and leaving.remaining() > 0:
                    self._consumer.consume(1, 0.05)  # serves the rebalance; who comes next reads the records
        finally:
            self._consumer.close()

    def _switch(self, act: Callable[[list[TopicPartition]], None], partitions: Collection[int]) -> None:
        placed = sorted(self._placed.intersection(partitions))
        if placed:
            try:
                act([TopicPartition(self._topic, number) for number in placed])
            except KafkaException as error:
                _log.debug(
                    "cannot pause or resume partitions %s: %s",
                    placed,
                    error_text(error),
                    extra={"topic": self._topic},
                )
