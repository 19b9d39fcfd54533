"""Answers about what is failing, what is in progress, and how steps fare."""

from __future__ import annotations

from pydantic import Field

from steptrail.consumers.web.models.common import (
    Answer,
    Model,
    Moment,
    PageAnswer,
    StateText,
    StatusText,
    Text,
)


class FailingStep(Model):
    """One step of one document that is in ERROR or FAILED now."""

    pipeline: str
    step_name: str
    doc_id: str
    status: StatusText
    can_be_retried: bool = Field(description="ERROR can be tried again, FAILED is for good.")
    failing_since: Moment = Field(description="The first bad ending after the last good one.")
    failed_at: Moment = Field(description="The last.")
    attempt: int
    executions: int = Field(description="How often the step was begun.")
    execution_id: Text
    duration_ms: float | None
    error_type: str | None
    error_message: str | None = Field(description="At most 2,000 characters; the document has all of it.")
    worker: str
    trace_id: str | None
    cursor: Text = Field(description="The event that says so, for /event.")


class FailingCount(Model):
    """How many documents are failing in one step now."""

    pipeline: str
    step_name: str
    documents: int
    can_be_retried: int
    failing_since: Moment
    last_failed_at: Moment


class FailingAnswer(PageAnswer):
    """What is failing now, the latest failure first."""

    items: list[FailingStep]


class FailingCountsAnswer(Answer):
    """How many documents are failing now, by step."""

    documents: int
    can_be_retried: int
    items: list[FailingCount]


class OpenStep(Model):
    """One step of one document that runs, or waits to be begun."""

    pipeline: str
    step_name: str
    doc_id: str
    status: StatusText
    open_since: Moment
    attempt: int
    executions: int
    execution_id: Text
    stalled_since: Moment | None = Field(
        description="Since when it is known to be stuck; of a PENDING one, that nobody takes it."
    )
    deadline_seconds: float | None
    sentence: str | None = Field(description="The evidence that it is stuck.")


class OpenCount(Model):
    """How much runs and waits in one step now."""

    pipeline: str
    step_name: str
    running: int
    queued: int
    running_since: Moment | None
    queued_since: Moment | None


class InProgressAnswer(PageAnswer):
    """What runs or waits now, that which began first in front."""

    items: list[OpenStep]


class InProgressCountsAnswer(Answer):
    """How much runs and waits now, by step."""

    running: int
    queued: int
    items: list[OpenCount]


class StepRow(Model):
    """How one step fares within the span, and how it is now."""

    pipeline: str
    step_name: str
    health: str = Field(description="HEALTHY, WARNING, CRITICAL, or UNKNOWN where it was not judged.")
    sentence: str | None = Field(description="The health consumer's evidence in words.")
    health_since: Moment | None
    ended: int = Field(description="Executions that ended in SUCCESS, WARNING, ERROR or FAILED.")
    success: int
    warning: int
    error: int
    failed: int
    skipped: int
    error_ratio: float | None = Field(description="ERROR and FAILED of `ended`; null where nothing ended.")
    per_minute: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    running: int
    queued: int
    stalled: int
    failing_documents: int
    can_be_retried: int
    failing_since: Moment | None
    last_error: str | None = Field(description="Template of the latest error's message.")
    last_error_group: str | None
    last_error_at: Moment | None


class StepsAnswer(Answer):
    """Every step, those that need somebody first."""

    since: Moment
    until: Moment
    counted_until: Moment | None = Field(
        description="Up to when minutes were counted, by the broker's clock; null: nobody counts."
    )
    items: list[StepRow]


class Point(Model):
    """Events of one step, or of all of them (empty names), from `begins` on for `bucket_seconds`."""

    begins: Moment
    pipeline: str
    step_name: str
    ended: int
    success: int
    warning: int
    error: int
    failed: int
    skipped: int
    running: int
    pending: int
    error_ratio: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class ThroughputAnswer(Answer):
    """Throughput, errors and durations over time; where nothing happened there is no point."""

    since: Moment
    until: Moment
    bucket_seconds: int
    counted_until: Moment | None
    items: list[Point]


class WaitRow(Model):
    """How long documents waited before `step_name`, since the end of `after_step`."""

    pipeline: str
    step_name: str
    after_step: str
    waits: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class WaitsAnswer(Answer):
    """How long documents wait between steps."""

    since: Moment
    until: Moment
    one_in: int = Field(description="Found in one of so many documents; 1: in all of them.")
    items: list[WaitRow]


class DurationRow(Model):
    """So many executions took from `from_ms` (inclusive) to `to_ms` (exclusive)."""

    from_ms: float
    to_ms: float
    executions: int


class DurationsAnswer(Answer):
    """How long the executions of one step took."""

    since: Moment
    until: Moment
    items: list[DurationRow]


class Changed(Model):
    """An error group that is new or back."""

    group_id: str
    pipeline: str
    step_name: str
    error_type: str
    template: str
    state: StateText
    count: int
    documents: int
    first_seen: Moment
    last_seen: Moment


class OverviewAnswer(Answer):
    """Everything that the first page shows, as of one moment."""

    since: Moment
    until: Moment
    health: str
    health_sentence: str
    health_since: Moment | None
    counted_until: Moment | None
    failing_documents: int
    can_be_retried: int
    running: int
    queued: int
    stalled: int
    changed: list[Changed] = Field(
        description="Error groups that are new or back, those with most errors first."
    )
    changed_more: int = Field(description="How many more there are.")
    steps: list[StepRow]
    bucket_seconds: int
    series: list[Point]


class PipelineRow(Model):
    """One pipeline and its steps."""

    pipeline: str
    steps: list[str]


class PipelinesAnswer(Answer):
    """The pipelines and steps of which anything was ever heard."""

    items: list[PipelineRow]
