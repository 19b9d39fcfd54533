"""The model of a processing step, as people hand it in and get it back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictStr, field_validator
from typing_extensions import Self

from steptrail.schemas.status import ProcessingStatus

_NOT_GIVEN: Any = object()


def _now() -> datetime:
    return datetime.now(timezone.utc)


class ProcessingStep(BaseModel):
    """One event of a step's history.

    `details` holds the step's results, `metadata` its context: by convention `metadata["metrics"]` is a
    dict of numbers and `metadata["error_message"]` a text or None. `timestamp` is aware and kept in UTC.

    Raises pydantic's ValidationError (a ValueError), which names the field, for unknown fields and for bad
    values, among them a naive timestamp.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    step_name: StrictStr
    status: ProcessingStatus
    details: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    timestamp: datetime = Field(default_factory=_now)

    def __init__(
        self,
        step_name: str = _NOT_GIVEN,
        status: ProcessingStatus | str = _NOT_GIVEN,
        details: dict[str, Any] = _NOT_GIVEN,
        metadata: dict[str, Any] = _NOT_GIVEN,
        timestamp: datetime = _NOT_GIVEN,
        **more: Any,
    ) -> None:
        given = {
            "step_name": step_name,
            "status": status,
            "details": details,
            "metadata": metadata,
            "timestamp": timestamp,
        }
        super().__init__(**{name: value for name, value in given.items() if value is not _NOT_GIVEN}, **more)

    @field_validator("timestamp", mode="before")
    @classmethod
    def _no_bare_numbers(cls, value: object) -> object:
        # Left to itself, pydantic would read a number as seconds or milliseconds, by its size.
        if isinstance(value, datetime | str):
            return value
        raise ValueError(
            f"timestamp is a datetime with a time zone or its ISO 8601 text, not {type(value).__name__}"
        )

    @field_validator("timestamp")
    @classmethod
    def _aware(cls, value: datetime) -> datetime:
        if value.tzinfo is None or value.utcoffset() is None:
            raise ValueError(
                f"timestamp is naive ({value.isoformat()}): give it a time zone,"
                " for instance datetime.now(timezone.utc)"
            )
        try:
            return value.astimezone(timezone.utc)
        except OverflowError:
            raise ValueError("timestamp lies outside of the years 1 to 9999 in UTC") from None

    @property
    def duration_ms(self) -> float | None:
        """How long it took in milliseconds, from `metadata["metrics"]["duration_ms"]`, if that is a number."""
        metrics = self.metadata.get("metrics")
        value = metrics.get("duration_ms") if isinstance(metrics, Mapping) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            return float(value)
        except OverflowError:
            return None

    @property
    def error_message(self) -> str | None:
        """What went wrong, from `metadata["error_message"]`."""
        value = self.metadata.get("error_message")
        return value if isinstance(value, str) else None

    def is_terminal_state(self) -> bool:
        """Whether the status ends its execution: all but PENDING and RUNNING."""
        return self.status.is_terminal

    def is_error_state(self) -> bool:
        """Whether the execution failed: ERROR and FAILED."""
        return self.status.is_error

    def to_dict(self) -> dict[str, Any]:
        """The step as values that JSON can hold; `timestamp` as ISO 8601 text, `status` as its name.

        What JSON cannot hold becomes its repr, a non-finite number its text. Nothing is shared with the step.
        """
        return {name: json_ready(getattr(self, name)) for name in type(self).model_fields}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The step that `to_dict` gave; exact for every value that JSON can hold.

        Raises ValidationError naming the field for unknown keys, missing ones and bad values.
        """
        if not isinstance(data, Mapping):
            raise TypeError(f"from_dict takes a mapping, not {type(data).__name__}")
        return cls.model_validate(dict(data))


class RecentError(ProcessingStep):
    """A step of a document that failed (or warned), which also says its `doc_id`."""

    doc_id: StrictStr


class ObservedStep(ProcessingStep):
    """What a consumer found out about a step's execution, among the events of those who ask for it.

    No worker said this. `observed` is STALLED (it was started and is past its deadline) or RETRACTED (an ending or
    a later execution came after all). `status` stays one of the seven: that of the execution when this was found,
    so RUNNING where it is STALLED. `timestamp` is the time for which it was found, `details` are the evidence as
    data; in `metadata`, `error_message` is the evidence in a sentence, beside `execution_id`, `observation_id`,
    `started_at`, `deadline_s` and `decided_by`.
    """

    observed: Literal["STALLED", "RETRACTED"]
    stands: bool = False
    """It is STALLED and holds now: the execution is still open. An ending takes it back at once."""


class ObservedError(ObservedStep, RecentError):
    """A stalled execution among recent errors; also says its `doc_id`."""


def json_ready(value: Any) -> Any:
    """A deep copy of a value in which all is of JSON's types; what is not becomes text.

    Unlike what an event takes (`steptrail.schemas.values.values`), nothing that JSON can hold is altered.
    """
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, ProcessingStatus):
        return value.value
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return repr(value)
