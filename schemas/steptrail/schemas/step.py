"""The public model of a processing step."""

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
        # By default pydantic reads a number as seconds or milliseconds, depending on its size.
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
        """Duration in milliseconds, from `metadata["metrics"]["duration_ms"]`, if that is a number."""
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
        """The error message, from `metadata["error_message"]`."""
        value = self.metadata.get("error_message")
        return value if isinstance(value, str) else None

    def is_terminal_state(self) -> bool:
        """Whether the status ends its execution: all but PENDING and RUNNING."""
        return self.status.is_terminal

    def is_error_state(self) -> bool:
        """Whether the execution failed: ERROR and FAILED."""
        return self.status.is_error

    def to_dict(self) -> dict[str, Any]:
        """Return the step as JSON values; `timestamp` as ISO 8601 text, `status` as its name.

        A value that JSON cannot represent becomes its repr, a non-finite number its text. The result is a deep copy.
        """
        return {name: json_ready(getattr(self, name)) for name in type(self).model_fields}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build a step from `to_dict`'s result; exact for every value that JSON can represent.

        Raises ValidationError naming the field for unknown or missing keys and invalid values.
        """
        if not isinstance(data, Mapping):
            raise TypeError(f"from_dict takes a mapping, not {type(data).__name__}")
        return cls.model_validate(dict(data))


class RecentError(ProcessingStep):
    """A failed (or warned) step with its `doc_id`."""

    doc_id: StrictStr


class ObservedStep(ProcessingStep):
    """A consumer's observation of a step's execution; returned with `include_observed`.

    No worker emitted it. `observed` is STALLED (it started and is past its deadline) or RETRACTED (an ending or a
    later execution arrived after all). `status` stays one of the seven: that of the execution at that time, so
    RUNNING for STALLED. `timestamp` is the time that the observation is about; `details` are the evidence as data;
    `metadata` has the evidence as a sentence in `error_message`, and `execution_id`, `observation_id`,
    `started_at`, `deadline_s` and `decided_by`.
    """

    observed: Literal["STALLED", "RETRACTED"]
    stands: bool = False
    """It is STALLED and holds now: the execution is still open. An ending takes it back at once."""


class ObservedError(ObservedStep, RecentError):
    """A stalled execution among recent errors, with its `doc_id`."""


def json_ready(value: Any) -> Any:
    """A deep copy of a value with only JSON types; others become text.

    Unlike normalisation for events (`steptrail.schemas.values.values`), it alters nothing that JSON can represent.
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
