"""Answers about documents and their events."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from steptrail.consumers.web.models.common import (
    Answer,
    Model,
    Moment,
    OptionalText,
    PageAnswer,
    StateText,
    StatusText,
    Text,
)


class DocumentStep(Model):
    """One step of a document and its status now."""

    step_name: str
    status: StatusText


class DocumentSummary(Model):
    """One document; its status is the worst of its steps'."""

    pipeline: str
    doc_id: str
    status: StatusText
    steps: list[DocumentStep]
    events: int
    first_at: Moment
    last_at: Moment
    updated_at: Moment


class DocumentsAnswer(PageAnswer):
    """Documents; a page may hold fewer than asked for, even none, and still have a `next`."""

    items: list[DocumentSummary]


class Event(Model):
    """One event as the worker sent it."""

    pipeline: str
    doc_id: str
    step_name: str
    status: StatusText
    timestamp: Moment
    broker_time: Moment
    event_id: Text
    execution_id: Text
    attempt: int
    duration_ms: float | None
    error_type: str | None
    error_message: str | None
    details: dict[str, Any]
    metrics: dict[str, Any]
    depends_on: list[str]
    trace_id: str | None
    worker: str
    cursor: Text = Field(description="Its place, for /event, and for pages after or before it.")


class EventsAnswer(PageAnswer):
    """Events, each once."""

    previous: OptionalText = Field(default=None, description="What `before` takes for the page before.")
    items: list[Event]


class EventAnswer(Answer):
    """One event."""

    event: Event


class StepNow(Model):
    """The state of one step of a document."""

    step_name: str
    status: StatusText
    attempt: int
    execution_id: Text
    queued_at: Moment | None
    started_at: Moment | None
    updated_at: Moment
    duration_ms: float | None
    error_type: str | None
    error_message: str | None
    details: dict[str, Any]
    metrics: dict[str, Any]
    depends_on: list[str]
    executions: int
    events: int
    stalled_since: Moment | None


class Attempt(Model):
    """One execution of a step."""

    execution_id: Text
    attempt: int
    status: StatusText
    queued_at: Moment | None
    started_at: Moment | None
    ended_at: Moment | None
    duration_ms: float | None
    worker: str
    error_type: str | None
    error_message: str | None
    details: dict[str, Any]
    metrics: dict[str, Any]
    trace_id: str | None
    events: int


class StepAttempts(Model):
    """The executions of one step side by side; `differs` names the fields in which they do."""

    step_name: str
    differs: list[str]
    attempts: list[Attempt]


class Completeness(Model):
    """Which of the expected steps are done and which are not."""

    state: StateText
    expected: list[str]
    done: list[str]
    failed: list[str]
    unfinished: list[str]
    missing: list[str]
    unexpected: list[str]


class Observed(Model):
    """What a consumer observed of an execution."""

    step_name: str
    execution_id: Text
    what: StateText
    number: int
    sentence: str
    stands: bool
    queued: bool
    started_at: Moment
    deadline_seconds: float | None
    watermark: Moment = Field(description="Everything was known until then, by the broker's clock.")


class DocumentIn(Model):
    """One document in one pipeline: how each step is, its attempts, what is missing, its first events."""

    pipeline: str
    doc_id: str
    status: StatusText
    first_at: Moment
    last_at: Moment
    events_total: int
    completeness: Completeness | None = Field(description="null: the pipeline declared no steps.")
    steps: list[StepNow]
    attempts: list[StepAttempts] = Field(description="Of the events that are in `events`.")
    observed: list[Observed]
    events: list[Event] = Field(description="Oldest first, 1,000 at most; the rest by /events?doc_id=.")
    next: OptionalText = Field(default=None, description="What `after` of /events takes for the rest.")


class DocumentAnswer(Answer):
    """A document in each pipeline that knows it."""

    items: list[DocumentIn]


class IncompleteRow(Completeness):
    """A document that lacks something."""

    pipeline: str
    doc_id: str
    updated_at: Moment


class IncompleteAnswer(PageAnswer):
    """Documents by how far they are, in the order of their names."""

    items: list[IncompleteRow]


class Hit(Model):
    """One thing that was found; what does not apply to its kind is null."""

    kind: str = Field(description="documents, errors, groups, workers, traces or executions.")
    pipeline: str
    doc_id: str | None
    step_name: str | None
    status: StatusText | None
    group_id: str | None
    worker: str | None
    trace_id: str | None
    execution_id: OptionalText
    error_type: str | None
    text: str | None
    at: Moment | None
    event: OptionalText


class SearchAnswer(Answer):
    """What was found, by kind."""

    items: list[Hit]
    more: list[str] = Field(
        description="Kinds of which there is more, or that were not looked through in time."
    )
    matched_errors: int = Field(description="How many errors of the span match.")
