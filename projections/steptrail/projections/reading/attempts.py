"""A document's attempts side by side: its executions, put together from its events, and what differs between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from steptrail.projections.reading.records import StepRecord
from steptrail.schemas.status import ProcessingStatus

_RANK: Final = {ProcessingStatus.PENDING: 0, ProcessingStatus.RUNNING: 1}
COMPARED: Final = ("status", "worker", "duration_ms", "error_type", "error_message", "details", "metrics")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of a step. Times are aware, UTC; None where no event says so.

    What it ended with (status, error, details, …) is of the event that decides, as the fold has it; the trace and
    the worker too.
    """

    pipeline: str
    step_name: str
    execution_id: UUID
    attempt: int
    status: ProcessingStatus
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    duration_ms: float | None
    worker: str
    error_type: str | None
    error_message: str | None
    details: dict[str, Any]
    metrics: dict[str, Any]
    trace_id: str | None
    events: int


@dataclass(frozen=True, slots=True)
class Attempts:
    """The executions of one step, in the order in which they began, and in what they differ (names of fields)."""

    pipeline: str
    step_name: str
    attempts: Sequence[Attempt]
    differs: Sequence[str]


def attempts(events: Iterable[StepRecord]) -> list[Attempts]:
    """The attempts of each step, steps in the order in which they began."""
    executions: dict[tuple[str, str, UUID], list[StepRecord]] = defaultdict(list)
    for event in events:
        executions[event.pipeline, event.step_name, event.execution_id].append(event)
    found = sorted((_attempt(of) for of in executions.values()), key=_began)
    steps: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in found:
        steps[attempt.pipeline, attempt.step_name].append(attempt)
    return [Attempts(pipeline, name, tuple(of), _differing(of)) for (pipeline, name), of in steps.items()]


def _attempt(events: Sequence[StepRecord]) -> Attempt:
    decides = max(events, key=_precedence)
    times = {
        kind: [_time(event) for event in events if _RANK.get(event.status, 2) == kind] for kind in range(3)
    }
    return Attempt(
        pipeline=decides.pipeline,
        step_name=decides.step_name,
        execution_id=decides.execution_id,
        attempt=max(event.attempt for event in events),
        status=decides.status,
        queued_at=min(times[0], default=None),
        started_at=min(times[1], default=None),
        ended_at=_time(decides) if times[2] else None,
        duration_ms=decides.duration_ms,
        worker=decides.worker,
        error_type=decides.error_type,
        error_message=decides.error_message,
        details=decides.details,
        metrics=decides.metrics,
        trace_id=decides.trace_id,
        events=len(events),
    )


def _time(event: StepRecord) -> datetime:
    return min(event.timestamp, event.broker_time)


def _precedence(event: StepRecord) -> tuple[int, datetime, int]:
    return _RANK.get(event.status, 2), _time(event), event.event_id.int


def _began(attempt: Attempt) -> tuple[datetime, int]:
    times = [at for at in (attempt.queued_at, attempt.started_at, attempt.ended_at) if at is not None]
    return min(times), attempt.execution_id.int


def _differing(of: Sequence[Attempt]) -> tuple[str, ...]:
    return tuple(name for name in COMPARED if any(getattr(each, name) != getattr(of[0], name) for each in of))
