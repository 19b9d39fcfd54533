"""Records between Kafka and the sink: the buffer that fills, and the batch that is ready."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from confluent_kafka import KafkaError, Message

from steptrail.projections.delivery.batch import Batch, BatchBuilder
from steptrail.schemas.errors import EventDecodeError
from steptrail.schemas.wire.headers import times_resent

Heard: TypeAlias = "tuple[int | None, int | None, KafkaError]"
"""An error that the consumer returned instead of a record: partition and offset, if it concerns one, and the error."""


@dataclass(frozen=True)
class Refused:
    """A message that is not an event, and why."""

    message: Message
    error: EventDecodeError


@dataclass(frozen=True)
class ConsumedBatch:
    """A batch for the sink.

    `batch` is what to stage. `messages` are the Kafka messages it was built from, in order, kept until it is written:
    their keys and headers are needed for dead letters. `refused` are those found not to be events while the batch was
    built; `batch` covers their offsets without rows. `prefiltered`: all messages were fully checked, not only their
    frames. `starts` maps each partition to the read position when its first message came, `first_times` to that
    message's append time (ms).
    """

    batch: Batch
    messages: list[Message]
    refused: list[Refused]
    starts: dict[int, int]
    first_times: dict[int, int]
    prefiltered: bool = False

    @property
    def events(self) -> int:
        """Number of messages."""
        return len(self.messages)


class Buffer:
    """Takes in messages until it is closed into a batch.

    `positions` is shared with the loop: the next offset to take in for each flowing partition. Messages of other
    partitions, or before that offset, are left over from a rebalance or a seek and are skipped.
    """

    def __init__(self, new_builder: Callable[[], BatchBuilder], positions: dict[int, int]) -> None:
        self._builder = new_builder()
        self._positions = positions
        self._messages: list[Message] = []
        self._refused: list[Refused] = []
        self.starts: dict[int, int] = {}
        self.first_times: dict[int, int] = {}  # partition -> broker time (ms) of its first message
        self.opened_at: float | None = None

    @property
    def events(self) -> int:
        """Number of messages taken in."""
        return len(self._messages)

    @property
    def size(self) -> int:
        """Total bytes of the values taken in."""
        return self._builder.size

    def extend(self, messages: Iterable[Message], now: float) -> list[Heard]:
        """Take in consumed messages; returns those that are errors, with partition and offset if they have them."""
        # The hot loop: every microsecond here is a tenth of a record's total cost.
        errors: list[Heard] = []
        add, keep, positions = self._builder.add, self._messages.append, self._positions
        current, expected = -1, -1
        for message in messages:
            error = message.error()
            if error is not None:
                errors.append((message.partition(), message.offset(), error))
                continue
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            if partition != current:
                if current >= 0:
                    positions[current] = expected
                expected = positions.get(partition, -1)
                if expected < 0 or offset < expected:
                    current = -1
                    continue
                current = partition
                if partition not in self.starts:
                    self._meet(partition, expected, offset, message.timestamp()[1])
            elif offset < expected:
                continue
            headers = message.headers()  # mostly None, which costs next to nothing
            try:
                if headers is not None and times_resent(headers):
                    add(partition, offset, message.timestamp()[1], message.value(), True)
                else:
                    add(partition, offset, message.timestamp()[1], message.value())
            except EventDecodeError as refusal:
                self._builder.skip(partition, offset)
                self._refused.append(Refused(message, refusal))
            keep(message)
            expected = offset + 1
        if current >= 0:
            positions[current] = expected
        if self.opened_at is None and self._messages:
            self.opened_at = now
        return errors

    def close(self) -> ConsumedBatch:
        """The batch. The buffer must not be used afterwards."""
        return ConsumedBatch(
            self._builder.build(), self._messages, self._refused, self.starts, self.first_times
        )

    def _meet(self, partition: int, expected: int, offset: int, time_ms: int) -> None:
        self.starts[partition] = expected
        self.first_times[partition] = time_ms
        if offset > expected:
            # Transaction markers and compaction leave holes; the ledger must have none.
            self._builder.skip(partition, expected)
