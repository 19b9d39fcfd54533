"""What all answers have in common."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Moment = Annotated[datetime, AfterValidator(lambda at: at.astimezone(timezone.utc))]
"""A time; written as ISO 8601 in UTC, ending in Z."""

Text = Annotated[str, BeforeValidator(lambda value: str(value))]
"""What is written as text: an id, a cursor, the value of an enumeration."""

OptionalText = Annotated[str | None, BeforeValidator(lambda value: None if value is None else str(value))]


def shown(place: object) -> str | None:
    """A cursor as a page names it; None: there is none."""
    return None if place is None else str(place)


def _value(status: Any) -> Any:
    return getattr(status, "value", status)


StatusText = Annotated[
    str,
    BeforeValidator(_value),
    Field(description="PENDING, RUNNING, SUCCESS, WARNING, ERROR, FAILED or SKIPPED."),
]
StateText = Annotated[str, BeforeValidator(_value)]


class Model(BaseModel):
    """Made from the objects of the reading layer, whose fields have the same names."""

    model_config = ConfigDict(from_attributes=True, extra="forbid")


class Answer(Model):
    """What every answer says of itself."""

    as_of: Moment | None = Field(
        default=None,
        description="Everything that Kafka took before then is in the answer; null when that is not known.",
    )
    behind_seconds: float | None = Field(
        default=None,
        description="For how long the oldest unread event waits; 0 when none does, null when not known.",
    )
    behind_events: int | None = Field(default=None, description="How many events wait unread.")
    freshness_problem: str | None = Field(
        default=None, description="What did not answer, where `as_of` is null."
    )


class PageAnswer(Answer):
    """One page of a list."""

    next: OptionalText = Field(
        default=None, description="What `after` takes for the next page; null at the end."
    )
