"""Finds which messages of a batch are not events, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from confluent_kafka import Message

from steptrail.consumers.ingest.dead_letter_producer import DeadLetter
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.loop.buffer import ConsumedBatch
from steptrail.projections.clickhouse.errors import BatchRejected
from steptrail.projections.delivery.staging import FailingRows
from steptrail.schemas.errors import EventDecodeError
from steptrail.schemas.wire.decoder import decode_event
from steptrail.schemas.wire.framing import Frame, split_frame

REFUSED_BY_STORE = "REFUSED_BY_STORE"


class Search:
    """The search for a batch's bad messages; `letters` are those found so far, starting with the buffer's rejects."""

    def __init__(self, consumed: ConsumedBatch, schemas: WriterSchemas) -> None:
        self.consumed = consumed
        self._schemas = schemas
        self.letters = [as_letter(refused.message, refused.error) for refused in consumed.refused]
        self.places = {letter.offset for letter in self.letters}
        self._refused = len(self.letters)
        self._taken = 0
        self._prefiltered = consumed.prefiltered
        self.decoded = False
        """Whether every message was decoded strictly."""

    @property
    def found(self) -> bool:
        """Whether it found any besides the buffer's rejects."""
        return len(self.letters) > self._refused

    def taken(self) -> list[DeadLetter]:
        """The letters found since the last call."""
        new, self._taken = self.letters[self._taken :], len(self.letters)
        return new

    def prefilter(self, *, texts: bool = False) -> None:
        """Prefilter all messages, and decode the suspects strictly.

        Checks the contents of texts only with `texts`: ClickHouse reports the rows that fail such a check.
        """
        # It imports numpy, which takes a quarter of a projector's start, and most never need it.
        from steptrail.consumers.ingest.prefilter import suspects

        self._prefiltered = True
        messages = self.consumed.messages
        numbers = suspects([message.value() for message in messages], self._schemas.by_frame, texts=texts)
        self._decode(messages[number] for number in numbers)

    def decode(self) -> None:
        """Decode all messages strictly: finds every bad one, and takes some 30 µs for each."""
        self._prefiltered = self.decoded = True
        self._decode(self.consumed.messages)

    def explain(self) -> bool:
        """Find why the remaining batch was rejected; returns False if nothing is found."""
        before = len(self.letters)
        if not self._prefiltered:
            self.prefilter()
        if len(self.letters) == before and not self.decoded:
            self.decode()
        return len(self.letters) > before

    def take_rows(self, rows: FailingRows) -> None:
        """Add the rows that ClickHouse rejects, with the strict decoder's reason if it has one."""
        offsets = {offset for _, offset in rows}
        for message in self.consumed.messages:
            if message.offset() in offsets and (check := rows.get(place_of(message))) is not None:
                fault = fault_of(message, self._schemas)
                self._add(refused_by_store(message, check) if fault is None else as_letter(message, fault))

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
    """Why this message is not an event, by the strict decoder; None if it is one.

    Raises RegistryUnavailable when its schema must be looked up and the registry does not answer.
    """
    value = message.value()
    try:
        frame = split_frame(value)
        schema = schemas.schema_of(frame)
    except EventDecodeError as error:
        return error
    assert value is not None
    return _fault_behind(frame, value, schema)


def known_fault(message: Message, schemas: WriterSchemas) -> EventDecodeError | None:
    """As `fault_of` for messages with known schemas; None for all others. No requests; thread-safe."""
    value = message.value()
    try:
        frame = split_frame(value)
    except EventDecodeError:
        return None
    schema = schemas.known(frame)
    if schema is None or value is None:
        return None
    return _fault_behind(frame, value, schema)


def _fault_behind(frame: Frame, value: bytes, schema: dict[str, Any]) -> EventDecodeError | None:
    try:
        decode_event(value[frame.length :], schema)
    except EventDecodeError as error:
        at = None if error.position is None else error.position + frame.length
        return EventDecodeError(error.reason, error.message, position=at, field=error.field)
    return None


def as_letter(message: Message, error: EventDecodeError) -> DeadLetter:
    """Build the dead letter of a message that does not decode."""
    return DeadLetter(
        message,
        reason=str(error.reason),
        explanation=str(error),
        stage="VALUE_CONVERTER",
        exception_class=f"{type(error).__module__}.{type(error).__qualname__}",
        position=error.position,
        field=error.field,
    )


def refused_by_store(message: Message, refusal: str | BatchRejected) -> DeadLetter:
    """Build the dead letter of a message that decodes but that ClickHouse rejects: by a check, or alone in a batch."""
    field: str | None
    if isinstance(refusal, str):
        explanation, field = f"ClickHouse refuses the record by its check {refusal!r}", refusal
    else:
        explanation, field = str(refusal), next(iter(refusal.checks), None)
    return DeadLetter(
        message,
        reason=REFUSED_BY_STORE,
        explanation=explanation,
        stage="TASK_PUT",
        exception_class=f"{BatchRejected.__module__}.{BatchRejected.__qualname__}",
        field=field,
    )


def place_of(message: Message) -> tuple[int, int]:
    """The message's (partition, offset)."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset
