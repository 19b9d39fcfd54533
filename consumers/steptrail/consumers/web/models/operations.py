"""Answers about error groups, health, alerts, losses, dead letters and lag."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from steptrail.consumers.web.models.common import Answer, Model, Moment, PageAnswer, StateText


class TrendPoint(Model):
    """Errors of one hour."""

    begins: Moment
    count: int


class Group(Model):
    """Errors that are the same but for numbers, names and places in their message."""

    group_id: str
    pipeline: str
    step_name: str
    error_type: str
    template: str
    state: StateText = Field(description="NEW, ONGOING, REGRESSED, RESOLVED or MUTED.")
    first_seen: Moment
    last_seen: Moment
    count: int
    documents: int
    templates: int
    acted_at: Moment | None
    acted_by: str
    reason: str
    lately: int = Field(description="Errors within the span.")
    trend: list[TrendPoint]


class GroupsAnswer(Answer):
    """Error groups, those with most errors within the span first."""

    since: Moment
    judged_until: Moment | None
    other_groups: int
    other_errors: int
    items: list[Group]


class GroupExample(Model):
    """An event of a group."""

    at: Moment
    event_id: str
    doc_id: str
    message: str


class TakenAction(Model):
    """What somebody decided about a group."""

    action: str
    reason: str
    acted_by: str
    acted_at: Moment


class GroupAnswer(Answer):
    """One error group."""

    group: Group
    examples: list[GroupExample]
    actions: list[TakenAction]


class FindingRow(Model):
    """What one rule found."""

    rule: str
    status: str
    sentence: str
    since: Moment | None
    data: dict[str, Any]
    silenced: bool


class VerdictRow(Model):
    """The latest verdict of a step; `step_name` is empty for a pipeline as a whole, both for everything."""

    pipeline: str
    step_name: str
    status: str
    since: Moment
    at: Moment
    sentence: str


class HealthAnswer(Answer):
    """How everything is, or one pipeline or step, with the evidence."""

    status: str = Field(description="HEALTHY, WARNING, CRITICAL, or UNKNOWN where it cannot be known.")
    sentence: str
    pipeline: str | None
    step_name: str | None
    since: Moment | None
    until: Moment | None = Field(description="Up to when everything was judged.")
    checked_at: Moment
    findings: list[FindingRow]
    verdicts: list[VerdictRow] = Field(description="Of each step and pipeline, as last judged.")


class ToldRow(Model):
    """What a target was told of an alert last."""

    target: str
    status: str
    severity: str
    at: Moment
    sure: bool


class HeldBy(Model):
    """What holds an alert's notifications back."""

    by: str
    silence: bool
    until: Moment | None


class AlertRow(Model):
    """Something that is wrong, and who knows."""

    id: str
    episode: str
    pipeline: str
    step_name: str
    kind: str
    severity: str
    status: str
    sentence: str
    since: Moment
    fired_at: Moment
    ended_at: Moment | None
    evidence_at: Moment | None
    owner: str
    labels: dict[str, str]
    examples: list[str]
    link: str
    held: HeldBy | None
    told: list[ToldRow]
    waiting: list[str]


class AlertsAnswer(Answer):
    """Alerts that fire, those that have fired longest first."""

    items: list[AlertRow]


class SilenceRow(Model):
    """What nobody is told of for a while."""

    id: str
    pipeline: str
    step_name: str
    kind: str
    starts_at: Moment
    ends_at: Moment
    holds: bool
    reason: str
    by: str


class SilencesAnswer(Answer):
    """Silences, those that end first in front."""

    items: list[SilenceRow]


class SilenceAnswer(Answer):
    """One silence."""

    silence: SilenceRow


class WorkerLosses(Model):
    """What became of one worker's events."""

    worker: str
    pipeline: str
    emitters: int
    not_closed: int = Field(description="Emitters that run, or ended without a last report.")
    accepted: int
    arrived: int
    missing: int = Field(
        description="Accepted and not in the tables; of one that runs they may be on their way."
    )
    dropped: int
    failed: int
    reasons: dict[str, int]
    last_heard_at: Moment | None


class LossesAnswer(Answer):
    """What was lost, by worker, and messages that are no events."""

    since: Moment | None
    missing: int
    dropped: int
    failed: int
    dead_letters_open: int
    items: list[WorkerLosses]


class EmitterRow(Model):
    """One emitter of one process."""

    emitter_id: str
    worker: str
    pipeline: str
    state: str
    arrived: int
    accepted: int
    delivered: int
    failed: int
    maybe_delivered: int
    dropped: int
    pending: int
    missing: int
    reasons: dict[str, Any]
    last_event_at: Moment | None
    last_report_at: Moment | None
    last_heard_at: Moment | None
    clock_offset_ms: float | None
    clock_uncertainty_ms: float | None
    clock_off: bool


class EmittersAnswer(Answer):
    """Emitters, those heard of last first."""

    items: list[EmitterRow]


class DeadLetter(Model):
    """A message that is no event."""

    place: str = Field(description="partition:offset in the topic that it was read from.")
    topic: str
    source_partition: int
    source_offset: int
    source_time: Moment
    reason: str
    explanation: str
    stage: str
    position: int | None
    field: str | None
    pipeline: str
    doc_id: str
    step_name: str
    value_bytes: int
    times_resent: int
    broker_time: Moment = Field(description="When it was set aside.")
    state: StateText = Field(description="OPEN, REDRIVEN or DROPPED.")
    decided_at: Moment | None
    decided_by: str
    note: str


class DeadLettersAnswer(PageAnswer):
    """Dead letters in the order in which they were set aside."""

    letters: int = Field(description="How many there are in all.")
    by_reason: dict[str, int]
    items: list[DeadLetter]


class PartitionRow(Model):
    """How far the projection is in one partition."""

    partition: int
    end: int | None
    committed: int | None
    projected: int | None
    lag_events: int | None
    lag_seconds: float | None
    member: str | None = Field(description="Who reads it; null: nobody, or it is not known.")


class LagAnswer(Answer):
    """How far the projection is behind the topic."""

    topic: str
    group: str
    group_state: str | None
    waiting_for: str | None
    problems: list[str]
    partitions: list[PartitionRow]


class FreshnessAnswer(Answer):
    """How fresh any answer is now."""

    moved_at: Moment | None = Field(description="When the projector last finished a batch.")


class WhoAmI(Answer):
    """Who asks, and what they may do."""

    name: str
    role: str
    pipelines: list[str] | None
