"""What is failing now: steps of documents whose current execution ended badly, with the last error of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from steptrail.projections.clickhouse.pages import Cursor
from steptrail.projections.clickhouse.queries import Store, ask, positive
from steptrail.projections.reading.spans import LAST, Span, chunks, position, step_scope
from steptrail.schemas.event import datetime_from_us
from steptrail.schemas.status import ProcessingStatus

BAD: Final = (ProcessingStatus.ERROR, ProcessingStatus.FAILED)
MESSAGE_CHARACTERS: Final = 2_000
"""What a row shows of an error's message; the document has all of it."""
MOST_STEPS: Final = 1_000


@dataclass(frozen=True, slots=True)
class FailingStep:
    """One step of one document that is in ERROR or FAILED now. Times are aware, UTC.

    `failing_since`: the first bad ending after the last good one; `failed_at`: the last. `executions`: how often it
    was begun. What the event itself says (error, worker, trace) is None where the event is not in the tables any more.
    """

    pipeline: str
    step_name: str
    doc_id: str
    execution_id: UUID
    status: ProcessingStatus
    failing_since: datetime
    failed_at: datetime
    attempt: int
    executions: int
    error_type: str | None
    error_message: str | None
    worker: str | None
    trace_id: str | None
    duration_ms: float | None
    event: Cursor | None
    """The event that says so."""
    cursor: Cursor

    @property
    def can_be_retried(self) -> bool:
        """ERROR can be tried again, FAILED is for good."""
        return self.status is ProcessingStatus.ERROR


@dataclass(frozen=True, slots=True)
class FailingCount:
    """How many documents are failing in one step now, how many of these can be retried, and since when."""

    pipeline: str
    step_name: str
    documents: int
    can_be_retried: int
    failing_since: datetime
    last_failed_at: datetime


@dataclass(frozen=True, slots=True)
class FailingPage:
    """Some failing steps, the latest failure first; `next` goes on after them (None: this is the end)."""

    items: Sequence[FailingStep]
    next: Cursor | None


def failing(
    store: Store,
    pipeline: str | None,
    step_name: str | None = None,
    *,
    span: Span = Span(),  # noqa: B008  frozen
    statuses: Collection[ProcessingStatus] = BAD,
    after: Cursor | str | None = None,
    limit: int = 100,
) -> FailingPage:
    """A page of what is failing now and failed last within `span`. Raises what `ask` does, ValueError, `BadCursor`."""
    parameters = {
        **_parameters(store, pipeline, step_name, span, statuses),
        **position(after, LAST),
        "fetch": positive("limit", limit) + 1,
    }
    rows = ask(store, "failing", parameters)
    shown = rows[:limit]
    errors = _last_errors(store, shown)
    items = tuple(_step(row, errors.get(row["execution_id"], {})) for row in shown)
    return FailingPage(items, items[-1].cursor if len(rows) > limit else None)


def failing_counts(
    store: Store,
    pipeline: str | None,
    step_name: str | None = None,
    *,
    span: Span = Span(),  # noqa: B008  frozen
    statuses: Collection[ProcessingStatus] = BAD,
) -> list[FailingCount]:
    """How many documents are failing now, by step, those with most first."""
    parameters = {**_parameters(store, pipeline, step_name, span, statuses), "fetch": MOST_STEPS}
    return [
        FailingCount(
            row["pipeline"],
            row["step_name"],
            int(row["documents"]),
            int(row["can_be_retried"]),
            datetime_from_us(row["since_us"]),
            datetime_from_us(row["last_us"]),
        )
        for row in ask(store, "failing_counts", parameters)
    ]


def _parameters(
    store: Store,
    pipeline: str | None,
    step_name: str | None,
    span: Span,
    statuses: Collection[ProcessingStatus],
) -> dict[str, Any]:
    chosen = sorted({ProcessingStatus(status).value for status in statuses})
    if not set(chosen) <= {status.value for status in BAD}:
        raise ValueError(f"a step that is failing is in ERROR or FAILED, not {', '.join(chosen)}")
    return {**step_scope(store, pipeline, step_name), **span.parameters(), "statuses": chosen}


def _last_errors(store: Store, rows: Sequence[Mapping[str, Any]]) -> dict[UUID, Mapping[str, Any]]:
    found: dict[UUID, Mapping[str, Any]] = {}
    for chunk in chunks(rows, lambda row: len(row["pipeline"]) + len(row["doc_id"]) + 48):
        parameters = {
            "pipelines": [row["pipeline"] for row in chunk],
            "docs": [row["doc_id"] for row in chunk],
            "executions": [str(row["execution_id"]) for row in chunk],
            "most": MESSAGE_CHARACTERS,
        }
        found.update((row["execution_id"], row) for row in ask(store, "last_errors", parameters))
    return found


def _step(row: Mapping[str, Any], error: Mapping[str, Any]) -> FailingStep:
    event = Cursor(int(error["timestamp_us"]), error["event_id"]) if error else None
    return FailingStep(
        pipeline=row["pipeline"],
        step_name=row["step_name"],
        doc_id=row["doc_id"],
        execution_id=row["execution_id"],
        status=ProcessingStatus(row["status"]),
        failing_since=datetime_from_us(row["since_us"]),
        failed_at=datetime_from_us(row["failed_us"]),
        attempt=int(row["attempt"]),
        executions=int(row["executions"]),
        error_type=error.get("error_type"),
        error_message=error.get("error_message"),
        worker=error.get("worker"),
        trace_id=error.get("trace_id"),
        duration_ms=error.get("duration_ms"),
        event=event,
        cursor=Cursor(int(row["failed_us"]), row["execution_id"]),
    )
