"""Finding the records that a batch was rejected for, so that the others go on.

Each way is slower than the one before, and is only gone where that was not enough:

1. what the buffer refused already (no value, no known frame, too long) costs nothing;
2. a glance at all messages, and a strict decode of those that look wrong;
3. a strict decode of each message;
4. bisection by the store, when it rejects what Python finds to be right (validators differ: `1e999` is a number
   to one and none to the other).

Which records are events is the store's word: nothing is set aside out of a batch that it takes. Only when a
batch was rejected shortly before, the next ones are glanced at first, which saves the store a rejection each.
A bad record is in the dead-letter topic, acknowledged, before the batch that covers its offset is written.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from confluent_kafka import Message

from steptrail.consumers.ingest.dead_letter_producer import DeadLetter
from steptrail.consumers.ingest.poison_limit import PoisonLimit, TooMuchPoison
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.loop.buffer import ConsumedBatch, Refused
from steptrail.projections.clickhouse.errors import BatchRejected
from steptrail.projections.delivery.batch import Batch
from steptrail.schemas.decoder import decode_event
from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.framing import split_frame
from steptrail.schemas.headers import times_resent

_log = logging.getLogger("steptrail.consumers.isolate")

# So many batches after a rejected one are glanced at before they are written.
WARY_BATCHES = 20

REFUSED_BY_STORE = "REFUSED_BY_STORE"

# Records of one batch that only the store refuses, before it counts as the store's fault, or ours.
MAX_REFUSED_BY_STORE = 50


class Isolation:
    """Writes batches by `write`; sends the bad records among them to `bury` first.

    `write` projects a batch and returns partition -> next offset; it raises BatchRejected with nothing
    written. `bury` returns when the letters are acknowledged. `limit` stops it all when too much is bad.
    """

    def __init__(
        self,
        write: Callable[[Batch], dict[int, int]],
        bury: Callable[[Sequence[DeadLetter]], None],
        schemas: WriterSchemas,
        limit: PoisonLimit,
    ) -> None:
        self._write = write
        self._bury = bury
        self._schemas = schemas
        self._limit = limit
        self._wary = 0  # batches still to be glanced at before they are written
        self.batches = 0  # how many had to be taken apart

    def write(self, consumed: ConsumedBatch) -> dict[int, int]:
        """Write all of the batch that can be written; partition -> next offset to commit.

        Raises TooMuchPoison before anything is buried or written, RegistryUnavailable when it is not known which
        schema wrote a message and the registry does not answer, and whatever `write` and `bury` raise.
        """
        consumed = self._resolved(consumed)
        known = [as_letter(refused.message, refused.error) for refused in consumed.refused]
        if self._wary:
            self._wary -= 1
            if found := self._glance(consumed, known):
                self._set_aside(consumed, known + found)
                return self._without(consumed, known, found)
        self._set_aside(consumed, known)
        try:
            return self._write(consumed.batch)
        except BatchRejected as rejected:
            _log.warning(
                "batch rejected, taking it apart",
                extra={"events": consumed.events, "checks": rejected.checks},
            )
        found = self._glance(consumed, known) or self._decode(consumed.messages, known)
        self._set_aside(consumed, found)
        return self._without(consumed, known, found)

    def _resolved(self, consumed: ConsumedBatch) -> ConsumedBatch:
        """The batch with those taken in again that were refused only for a schema that the registry knows."""
        if not self._schemas.has_registry:
            return consumed
        refused: list[Refused] = []
        for each in consumed.refused:
            if each.error.reason is DecodeReason.UNKNOWN_SCHEMA:
                try:
                    self._schemas.learn(split_frame(each.message.value()))
                    continue
                except EventDecodeError as error:
                    each = Refused(each.message, error)
            refused.append(each)
        batch = consumed.batch
        if len(refused) < len(consumed.refused):
            bad = {_position(each.message) for each in refused}
            batch = self._batch_of(consumed.messages, bad, consumed.starts)
        return replace(consumed, batch=batch, refused=refused)

    def _glance(self, consumed: ConsumedBatch, known: list[DeadLetter]) -> list[DeadLetter]:
        # With it comes numpy, which takes a quarter of a projector's start, and most never need it.
        from steptrail.consumers.ingest.prefilter import suspects

        messages = consumed.messages
        numbers = suspects([message.value() for message in messages], self._schemas.current)
        return self._decode([messages[number] for number in numbers], known)

    def _decode(self, messages: list[Message], known: list[DeadLetter]) -> list[DeadLetter]:
        """Letters for those of `messages` that the strict decoder refuses, but for those that are known."""
        places = {letter.offset for letter in known}
        faults = [(m, fault_of(m, self._schemas)) for m in messages if _position(m) not in places]
        return [as_letter(message, fault) for message, fault in faults if fault is not None]

    def _without(
        self, consumed: ConsumedBatch, known: list[DeadLetter], found: list[DeadLetter]
    ) -> dict[int, int]:
        """Write the batch without these; by halves when it is rejected all the same, or none were `found` in it."""
        self.batches += 1
        self._wary = WARY_BATCHES
        if found:
            try:
                return self._write(consumed.batch.without({letter.offset for letter in found}))
            except BatchRejected:
                pass  # there are others
        bad = {letter.offset for letter in (*known, *found)}
        return self._write_pieces(_halves(consumed.messages, bad), bad, dict(consumed.starts))

    def _set_aside(self, consumed: ConsumedBatch, letters: list[DeadLetter]) -> None:
        if letters:
            self._limit.check(consumed.messages, letters)
            self._bury(letters)

    def _write_pieces(
        self, pieces: list[list[Message]], bad: set[tuple[int, int]], stand: dict[int, int]
    ) -> dict[int, int]:
        """Write `pieces` in order; one that is rejected is halved, until a record that is bad stands alone.

        `stand` says for each partition up to where it is written.
        """
        lost: set[int] = set()
        refused: list[DeadLetter] = []
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
                refused.append(letter)
                if len(refused) > MAX_REFUSED_BY_STORE:
                    raise TooMuchPoison(
                        f"the store refuses {len(refused)} records of a batch that decode without a fault, first at "
                        f"partition {refused[0].offset[0]}, offset {refused[0].offset[1]}: {rejected}\n"
                        "Stopped, because then it is the store, or this program, that is wrong."
                    ) from rejected
                self._bury([letter])
                bad.add(letter.offset)
                todo.appendleft(piece)
            else:
                stand.update(done)
                # Once a partition is lost, what comes after in it must not be written: it would hide a hole.
                lost.update(partition for partition in batch.spans if partition not in done)
        return {partition: offset for partition, offset in stand.items() if partition not in lost}

    def _batch_of(self, messages: list[Message], bad: set[tuple[int, int]], starts: dict[int, int]) -> Batch:
        builder = self._schemas.new_builder()
        for message in messages:
            partition, offset = position = _position(message)
            if partition not in builder.spans and starts.get(partition, offset) < offset:
                builder.skip(partition, starts[partition])
            if position in bad:
                builder.skip(partition, offset)
            else:
                resent = times_resent(message.headers()) > 0
                builder.add(partition, offset, message.timestamp()[1], message.value(), resent)
        return builder.build()


def fault_of(message: Message, schemas: WriterSchemas) -> EventDecodeError | None:
    """Why this message is no event, by the strict decoder; None when it is one.

    Raises RegistryUnavailable when the registry has to be asked for its schema and does not answer.
    """
    try:
        value = message.value()
        frame = split_frame(value)
        assert value is not None
        schema = schemas.schema_of(frame)
        try:
            event = decode_event(value[frame.length :], schema)
        except EventDecodeError as error:
            at = None if error.position is None else error.position + frame.length
            return EventDecodeError(error.reason, error.message, position=at, field=error.field)
        for name, text, first in (
            ("details", event.details, "{"),
            ("metrics", event.metrics, "{"),
            ("depends_on", event.depends_on, "["),
        ):
            if not text.startswith(first):  # JSON, but the store wants the bracket to come first
                return EventDecodeError(
                    DecodeReason.BAD_JSON, f"the text does not start with {first}", field=name
                )
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
