"""steptrail's errors; each base class states how to react."""

from __future__ import annotations

from enum import Enum


class SteptrailError(Exception):
    """Base of every error that steptrail raises on purpose."""


class InfrastructureError(SteptrailError):
    """A dependency is unavailable: pause, keep the data, and retry.

    Never a reason to dead-letter a message: the data is valid.
    """


class DataError(SteptrailError):
    """One message or value is invalid, and retrying does not help: set it aside and continue."""


class ConfigurationError(SteptrailError):
    """A setting is invalid: stop. The message names the setting and never shows a secret's value."""


class DecodeReason(str, Enum):
    """Why a message is not an event: a small, stable set, suitable for a header and a metric label."""

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

    `position` is the offset of the first invalid byte, within the bytes passed to the function that raised, None if no
    single byte is at fault; `field` is the event's field that contains it.
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
