"""A buffer that searches for bad messages while it fills, as long as some are expected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from confluent_kafka import Message

from steptrail.consumers.ingest.finding import known_fault, place_of
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.loop.buffer import Buffer, ConsumedBatch, Heard, Refused


class PrefilteringBuffer(Buffer):
    """Also rejects what the prefilter and the strict decoder find, while `wary()`.

    That runs in the loop's thread, while the writer waits for ClickHouse. In the writer's thread it would add to that
    wait, and compete with the loop for the GIL.
    """

    def __init__(self, schemas: WriterSchemas, positions: dict[int, int], wary: Callable[[], bool]) -> None:
        super().__init__(schemas.new_builder, positions)
        self._schemas = schemas
        self._wary = wary
        self._looked_at = 0  # number of messages already searched
        self._found: list[Refused] = []

    def extend(self, messages: Iterable[Message], now: float) -> list[Heard]:
        """Add consumed messages; returns those that are errors, with their place if they have one."""
        errors = super().extend(messages, now)
        if self._wary():
            self._prefilter()
        return errors

    def close(self) -> ConsumedBatch:
        """The batch. The buffer must not be used afterwards."""
        if self._wary():
            self._prefilter()
        consumed = super().close()
        batch = consumed.batch
        if self._found:
            batch = batch.without({place_of(refused.message) for refused in self._found})
        return replace(
            consumed,
            batch=batch,
            refused=[*consumed.refused, *self._found],
            prefiltered=self._looked_at == len(consumed.messages),
        )

    def _prefilter(self) -> None:
        # Imported late: numpy takes a quarter of a projector's start, and most never need it.
        from steptrail.consumers.ingest.prefilter import suspects

        messages = self._messages[self._looked_at :]
        self._looked_at += len(messages)
        values = [message.value() for message in messages]
        for number in suspects(values, self._schemas.by_frame, texts=False) if values else ():
            fault = known_fault(messages[number], self._schemas)
            if fault is not None:
                self._found.append(Refused(messages[number], fault))
