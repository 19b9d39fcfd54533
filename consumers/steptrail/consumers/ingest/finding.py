"""Finding which messages of a batch are no events, and why."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import Message

from steptrail.consumers.ingest.dead_letter_producer import DeadLetter
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.loop.buffer import ConsumedBatch
from steptrail.projections.clickhouse.errors import BatchRejected
from steptrail.schemas.errors import EventDecodeError
from steptrail.schemas.wire.decoder import decode_event
from steptrail.schemas.wire.framing import split_frame

REFUSED_BY_STORE = "REFUSED_BY_STORE"


class Search:
    """What is bad in a batch, as it comes out: `letters`, those that the buffer refused first."""

    def __init__(self, consumed: ConsumedBatch, schemas: WriterSchemas) -> None:
        self.consumed = consumed
        self._schemas = schemas
        self.letters = [as_letter(refused.message, refused.error) for refused in consumed.refused]
        self.places = {letter.offset for letter in self.letters}
        self._known = len(self.letters)
        self._taken = 0

    @property
    def found(self) -> bool:
        """Whether there are others than those that the buffer refused."""
        return len(self.letters) > self._known

    def taken(self) -> list[DeadLetter]:
        """The letters that were found since this was asked last."""
        new, self._taken = self.letters[self._taken :], len(self.letters)
        return new

    def glance(self) -> None:
        """Look at all messages, and decode strictly what looks wrong: a tenth of the time that decoding all takes."""
        # With it comes numpy, which takes a quarter of a projector's start, and most never need it.
        from steptrail.consumers.ingest.prefilter import suspects

        messages = self.consumed.messages
        numbers = suspects([message.value() for message in messages], self._schemas.by_frame)
        self._decode(messages[number] for number in numbers)

    def explain(self, rejected: BatchRejected) -> bool:
        """Find what a batch was rejected for by which all that is found was left out; False when nothing is."""
        before = len(self.letters)
        if rejected.rows:
            self._take_rows(rejected)
        if not rejected.checks.keys() <= set(rejected.rows.values()):
            self.glance()
        if len(self.letters) == before:
            self._decode(self.consumed.messages)
        return len(self.letters) > before

    def _take_rows(self, rejected: BatchRejected) -> None:
        """Take the store's word for the rows that it names; the strict decoder says it better where it can."""
        for message in self.consumed.messages:
            check = rejected.rows.get(place_of(message))
            if check is not None:
                fault = fault_of(message, self._schemas)
                self._add(
                    refused_by_store(message, rejected, check) if fault is None else as_letter(message, fault)
                )

    def _decode(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if place_of(message) not in self.places:
                fault = fault_of(message, self._schemas)
                if fault is not None:
                    self._add(as_letter(message, fault))

    def _add(self, letter: DeadLetter) -> None:
        if letter.offset not in self.places:
            self.places.add(letter.offset)
            self.letters.append(letter)


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


def refused_by_store(message: Message, rejected: BatchRejected, check: str | None = None) -> DeadLetter:
    """The dead letter of a message that decodes, and that the store refuses all the same, by this check if any."""
    return DeadLetter(
        message,
        reason=REFUSED_BY_STORE,
        explanation=str(rejected)
        if check is None
        else f"ClickHouse refuses the record by its check {check!r}",
        stage="TASK_PUT",
        exception_class=f"{type(rejected).__module__}.{type(rejected).__qualname__}",
        field=check or next(iter(rejected.checks), None),
    )


def place_of(message: Message) -> tuple[int, int]:
    """Partition and offset."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset
