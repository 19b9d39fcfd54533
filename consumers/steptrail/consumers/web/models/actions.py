"""What changes are asked for with, and what comes of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from steptrail.consumers.web.models.common import Answer, Moment


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError("say why: somebody will wonder")
    return text.strip()


Why = Annotated[str, Field(max_length=2000), AfterValidator(_said)]
Glob = Annotated[str, Field(min_length=1, max_length=1024, description="A name, or a glob such as 'ocr*'.")]


class Request(BaseModel):
    """The body of a change."""

    model_config = ConfigDict(extra="forbid")


class GroupAction(Request):
    """Why a group is resolved, muted or opened again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "mended in 1.4.2"}]})

    reason: str = Field(default="", max_length=2000)


class NewSilence(Request):
    """What nobody is to be told of, for how long, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"pipeline": "invoices", "step_name": "ocr*", "for_seconds": 7200, "reason": "a new model"}
            ]
        },
    )

    pipeline: Glob = "*"
    step_name: Glob = "*"
    kind: Glob = "*"
    for_seconds: float = Field(ge=1, le=366 * 86_400)
    reason: Why
    everything: bool = Field(
        default=False, description="Has to be true where neither a pipeline, a step nor a kind is named."
    )


class LetterSelection(Request):
    """Which dead letters are meant: those that meet everything that is given."""

    places: list[Annotated[str, Field(pattern=r"^\d{1,9}:\d{1,18}$")]] = Field(
        default_factory=list, max_length=1000, description="partition:offset, as `place` has it."
    )
    reasons: list[str] = Field(default_factory=list, max_length=50)
    pipelines: list[str] = Field(default_factory=list, max_length=100)
    since: Moment | None = None
    until: Moment | None = None
    states: list[Literal["OPEN", "REDRIVEN", "DROPPED"]] = Field(default=["OPEN"], min_length=1)


class Redrive(LetterSelection):
    """Send dead letters again to the steps topic; a dry run unless `dry_run` is false."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reasons": ["UNKNOWN_SCHEMA"], "dry_run": True}]}
    )

    dry_run: bool = True
    force: bool = Field(default=False, description="Send also what would only come back.")
    rate: float = Field(default=500.0, ge=1, le=100_000, description="Letters a second, at most.")
    max_resent: int = Field(default=3, ge=1, le=1000)
    limit: int = Field(default=1000, ge=1, le=10_000, description="Look at so many, at most.")
    note: str = Field(default="", max_length=2000)


class Drop(LetterSelection):
    """Write down that nothing more is to be done about dead letters; a dry run unless `dry_run` is false."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"places": ["3:1734"], "note": "sent by hand", "dry_run": True}]},
    )

    dry_run: bool = True
    everything: bool = Field(
        default=False, description="Has to be true where nothing but the state narrows it."
    )
    note: Why


class RedriveAnswer(Answer):
    """What was sent, or would be, and what was left alone and why."""

    dry_run: bool
    run: str
    matched: int
    sent: int
    would_send: int | None
    skipped: dict[str, int] = Field(
        description="still_bad: would only come back; loop_cap: sent as often as max_resent allows; gone: not in the"
        " dead-letter topic any more; refused_by_broker: too large."
    )
    done_by: str


class DropAnswer(Answer):
    """How many were dropped, or would be, by reason."""

    dry_run: bool
    run: str
    matched: int
    dropped: int
    by_reason: dict[str, int]
    done_by: str
