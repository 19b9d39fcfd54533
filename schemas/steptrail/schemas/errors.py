"""The errors of steptrail; each base class names the reaction that it asks for."""

from __future__ import annotations

from enum import Enum


class SteptrailError(Exception):
    """Base of every error that steptrail raises on purpose."""


class InfrastructureError(SteptrailError):
    """Something that steptrail needs does not answer now: pause, keep the data, try again.

    Never a reason to dead-letter a message: the data is fine, the world is not.
    """


class DataError(SteptrailError):
    """One message or value is wrong, and will be wrong each time: set it aside, go on with the rest."""


class ConfigurationError(SteptrailError):
    """A setting is wrong: stop. The message names the setting and never shows a secret's value."""


class DecodeReason(str, Enum):
    """Why a message is not an event: a small, stable set, fit for a header and a metric's label."""

    EMPTY = "EMPTY"
    BAD_FRAME = "BAD_FRAME"
    UNKNOWN_SCHEMA = "UNKNOWN_SCHEMA"
    TRUNCATED = "TRUNCATED"
    TRAILING_BYTES = "TRAILING_BYTES"
    NOT_CANONICAL = "NOT_CANONICAL"
    BAD_UTF8 = "BAD_UTF8"
    BAD_JSON = "BAD_JSON"
    BAD_STATUS = "BAD_STATUS"
    BAD_TIMESTAMP = "BAD_TIMESTAMP"
    BAD_VALUE = "BAD_VALUE"
    TOO_LARGE = "TOO_LARGE"

    def __str__(self) -> str:
        return self.value


class EventDecodeError(DataError):
    """A message's bytes are not an event.

    `position` is the offset of the first byte that is wrong, within the bytes that were given to the
    function that raised, None where no single byte is to blame; `field` is the event's field it lies in.
    The message never quotes the event's content.
    """

    def __init__(
        self, reason: DecodeReason, message: str, *, position: int | None = None, field: str | None = None
    ) -> None:
        self.reason = reason
        self.position = position
        self.field = field
        self.message = message
        super().__init__(reason, message, position, field)

    def __str__(self) -> str:
        where = f" in {self.field}" if self.field is not None else ""
        at = f" at byte {self.position}" if self.position is not None else ""
        return f"{self.reason}{where}{at}: {self.message}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_decode_error, (self.reason, self.message, self.position, self.field))


def _rebuild_decode_error(
    reason: DecodeReason, message: str, position: int | None, field: str | None
) -> EventDecodeError:
    return EventDecodeError(reason, message, position=position, field=field)
