"""Finding the records that a batch was rejected for, so that the others go on.

Three ways, each slower than the one before, and each only where the one before was not enough:

1. what the buffer refused already (no value, no known frame, too long): costs nothing;
2. a strict decode of each message in Python, when the store has rejected the batch;
3. bisection by the store, when it still rejects what Python finds to be right (validators differ: `1e999` is
   a number to Python and none to the store).

A bad record is in the dead-letter topic, acknowledged, before the batch that covers its offset is written.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence

from confluent_kafka import Message

from steptrail.consumers.buffer import ConsumedBatch
from steptrail.consumers.dead_letters import DeadLetter
from steptrail.consumers.poison_limit import PoisonLimit
from steptrail.projections.batch import Batch, BatchBuilder
from steptrail.projections.errors import BatchRejected
from steptrail.schemas.bundled import STEP_EVENT_SCHEMA, schema_by_fingerprint
from steptrail.schemas.decoder import decode_event
from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.framing import split_frame

_log = logging.getLogger("steptrail.consumers.isolate")

REFUSED_BY_STORE = "REFUSED_BY_STORE"


class Isolation:
    """Writes batches by `write`; sends the bad records among them to `bury` first.

    `write` projects a batch and returns partition -> next offset; it raises BatchRejected with nothing
    written. `bury` returns when the letters are acknowledged. `limit` stops it all when too much is bad.
    """

    def __init__(
        self,
        write: Callable[[Batch], dict[int, int]],
        bury: Callable[[Sequence[DeadLetter]], None],
        new_builder: Callable[[], BatchBuilder],
        limit: PoisonLimit,
    ) -> None:
        self._write = write
        self._bury = bury
        self._new_builder = new_builder
        self._limit = limit
        self.batches = 0  # how many had to be taken apart

    def write(self, consumed: ConsumedBatch) -> dict[int, int]:
        """Write all of the batch that can be written; partition -> next offset to commit.

        Raises TooMuchPoison before anything is buried or written, and whatever `write` and `bury` raise.
        """
        letters = [as_letter(refused.message, refused.error) for refused in consumed.refused]
        if letters:
            self._limit.check(consumed.messages, letters)
            self._bury(letters)
        try:
            return self._write(consumed.batch)
        except BatchRejected as rejected:
            _log.warning(
                "batch rejected, taking it apart",
                extra={"events": consumed.events, "checks": rejected.checks},
            )
        self.batches += 1
        return self._decode_each(consumed, {letter.offset for letter in letters})

    def _decode_each(self, consumed: ConsumedBatch, known: set[tuple[int, int]]) -> dict[int, int]:
        letters = []
        for message in consumed.messages:
            if (error := fault_of(message)) is not None:
                letter = as_letter(message, error)
                if letter.offset not in known:
                    letters.append(letter)
        bad = known | {letter.offset for letter in letters}
        self._limit.check(consumed.messages, letters)
        self._bury(letters)
        pieces = [consumed.messages] if letters else _halves(consumed.messages, bad)
        return self._write_pieces(pieces, bad, dict(consumed.starts))

    def _write_pieces(
        self, pieces: list[list[Message]], bad: set[tuple[int, int]], stand: dict[int, int]
    ) -> dict[int, int]:
        """Write `pieces` in order; one that is rejected is halved, until a record that is bad stands alone.

        `stand` says for each partition up to where it is written.
        """
        lost: set[int] = set()
        todo = deque(pieces)
        while todo:
            piece = [message for message in todo.popleft() if message.partition() not in lost]
            if not piece:
                continue
            try:
                batch = self._batch_of(piece, bad, stand)
                done = self._write(batch)
            except BatchRejected as rejected:
                good = [message for message in piece if _position(message) not in bad]
                if len(good) > 1:
                    todo.extendleft(reversed(_halves(piece, bad)))
                    continue
                letter = _refused_by_store(good[0], rejected)
                self._bury([letter])
                bad.add(letter.offset)
                todo.appendleft(piece)
            else:
                stand.update(done)
                # Once a partition is lost, what comes after in it must not be written: it would hide a hole.
                lost.update(partition for partition in batch.spans if partition not in done)
        return {partition: offset for partition, offset in stand.items() if partition not in lost}

    def _batch_of(self, messages: list[Message], bad: set[tuple[int, int]], starts: dict[int, int]) -> Batch:
        builder = self._new_builder()
        for message in messages:
            partition, offset = position = _position(message)
            if partition not in builder.spans and starts.get(partition, offset) < offset:
                builder.skip(partition, starts[partition])
            if position in bad:
                builder.skip(partition, offset)
            else:
                builder.add(partition, offset, message.timestamp()[1], message.value())
        return builder.build()


def fault_of(message: Message) -> EventDecodeError | None:
    """Why this message is no event, by the strict decoder; None when it is one."""
    try:
        value = message.value()
        frame = split_frame(value)
        assert value is not None
        schema = STEP_EVENT_SCHEMA
        if frame.fingerprint is not None:
            known = schema_by_fingerprint(frame.fingerprint)
            if known is None:
                told = f"no schema is known with fingerprint {frame.fingerprint.hex()}"
                return EventDecodeError(DecodeReason.UNKNOWN_SCHEMA, told, position=2)
            schema = known
        try:
            decode_event(value[frame.length :], schema)
        except EventDecodeError as error:
            at = None if error.position is None else error.position + frame.length
            return EventDecodeError(error.reason, error.message, position=at, field=error.field)
    except EventDecodeError as error:
        return error
    return None


def as_letter(message: Message, error: EventDecodeError) -> DeadLetter:
    """The dead letter of a message that does not decode."""
    return DeadLetter(
        message,
        reason=str(error.reason),
        explanation=str(error),
        stage="VALUE_CONVERTER",
        exception_class=f"{type(error).__module__}.{type(error).__qualname__}",
        position=error.position,
        field=error.field,
    )


def _refused_by_store(message: Message, rejected: BatchRejected) -> DeadLetter:
    return DeadLetter(
        message,
        reason=REFUSED_BY_STORE,
        explanation=str(rejected),
        stage="TASK_PUT",
        exception_class=f"{type(rejected).__module__}.{type(rejected).__qualname__}",
        field=next(iter(rejected.checks), None),
    )


def _halves(messages: list[Message], bad: set[tuple[int, int]]) -> list[list[Message]]:
    """Cut where half of the records that are not known to be bad are on each side."""
    good = [number for number, message in enumerate(messages) if _position(message) not in bad]
    if len(good) < 2:
        return [messages]
    middle = good[len(good) // 2]
    return [messages[:middle], messages[middle:]]


def _position(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset
