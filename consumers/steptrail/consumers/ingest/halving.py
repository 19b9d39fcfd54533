"""The last resort: halves a batch that is rejected for an unknown reason until the bad records are isolated."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from confluent_kafka import Message

from steptrail.consumers.ingest.dead_letter_producer import DeadLetter
from steptrail.consumers.ingest.finding import place_of, refused_by_store
from steptrail.consumers.ingest.poison_limit import Place, TooMuchPoison
from steptrail.projections.clickhouse.errors import BatchRejected
from steptrail.projections.delivery.batch import Batch, BatchBuilder
from steptrail.projections.delivery.staging import SetAside
from steptrail.schemas.wire.headers import times_resent

SendLetters = Callable[[Sequence[DeadLetter]], None]
"""Sends letters to the dead-letter topic; returns when all are acknowledged."""


class Write(Protocol):
    """Projects a batch, as `steptrail.projections.delivery.projection.Projection.write` does."""

    def __call__(self, batch: Batch, set_aside: SetAside | None = None, /) -> dict[int, int]:
        """Returns partition -> next offset to commit."""
        ...


class Halving:
    """Writes messages with `write` in pieces, and sends those that ClickHouse rejects alone to `send_letters`.

    Each bad one takes about twice the logarithm of their number in statements. Raises TooMuchPoison at more than `most`
    of them.
    """

    def __init__(
        self,
        write: Write,
        send_letters: SendLetters,
        new_builder: Callable[[], BatchBuilder],
        most: int,
    ) -> None:
        self._write = write
        self._send_letters = send_letters
        self._new_builder = new_builder
        self._most = most
        self.letters: list[DeadLetter] = []

    def write(self, messages: list[Message], bad: set[Place], starts: Mapping[int, int]) -> dict[int, int]:
        """Write all but known (`bad`) and newly found bad messages; returns partition -> next offset to commit.

        `starts` maps each partition to the offset up to which it is already written.
        """
        bad, stand = set(bad), dict(starts)
        lost: set[int] = set()
        todo = deque(_halves(messages, bad))
        while todo:
            piece = [message for message in todo.popleft() if message.partition() not in lost]
            if not piece:
                continue
            try:
                batch = batch_of(piece, bad, stand, self._new_builder())
                done = self._write(batch)
            except BatchRejected as rejected:
                good = [message for message in piece if place_of(message) not in bad]
                if len(good) > 1:
                    todo.extendleft(reversed(_halves(piece, bad)))
                    continue
                letter = self._set_aside(good[0], rejected)
                bad.add(letter.offset)
                todo.appendleft(piece)
            else:
                stand.update(done)
                # Once a partition's claim is lost, nothing after that in it may be written: it would hide a hole.
                lost.update(partition for partition in batch.spans if partition not in done)
        return {partition: offset for partition, offset in stand.items() if partition not in lost}

    def _set_aside(self, message: Message, rejected: BatchRejected) -> DeadLetter:
        letter = refused_by_store(message, rejected)
        self.letters.append(letter)
        if len(self.letters) > self._most:
            partition, offset = self.letters[0].offset
            raise TooMuchPoison(
                f"the store refuses {len(self.letters)} records of a batch that decode without a fault, first at "
                f"partition {partition}, offset {offset}: {rejected}\n"
                "Stopped, because then it is the store, or this program, that is wrong. If it really are the "
                "messages, raise STEPTRAIL_POISON_MAX_UNEXPLAINED and start again."
            ) from rejected
        self._send_letters([letter])
        return letter


def batch_of(
    messages: Sequence[Message], bad: set[Place], starts: Mapping[int, int], builder: BatchBuilder
) -> Batch:
    """A batch of these messages; it covers the offsets of the `bad` ones, and those from `starts`, without rows."""
    for message in messages:
        partition, offset = place = place_of(message)
        if partition not in builder.spans and starts.get(partition, offset) < offset:
            builder.skip(partition, starts[partition])
        if place in bad:
            builder.skip(partition, offset)
        else:
            resent = times_resent(message.headers()) > 0
            builder.add(partition, offset, message.timestamp()[1], message.value(), resent)
    return builder.build()


def _halves(messages: list[Message], bad: set[Place]) -> list[list[Message]]:
    """Split so that each side has half of the records not known to be bad."""
    good = [number for number, message in enumerate(messages) if place_of(message) not in bad]
    if len(good) < 2:
        return [messages]
    middle = good[len(good) // 2]
    return [messages[:middle], messages[middle:]]
