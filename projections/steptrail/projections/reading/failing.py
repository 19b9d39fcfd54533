"""What is failing now: steps of documents whose current execution ended badly, with the last error of each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from steptrail.projections.clickhouse.pages import Cursor
from steptrail.projections.clickhouse.queries import Store, ask, positive
from steptrail.projections.reading.spans import LAST, Span, chunks, of_documents, position, step_scope
from steptrail.projections.reading.windows import ask_backward
from steptrail.schemas.event import datetime_from_us
from steptrail.schemas.status import ProcessingStatus

BAD: Final = (ProcessingStatus.ERROR, ProcessingStatus.FAILED)
MESSAGE_CHARACTERS: Final = 2_000
"""What a row shows of an error's message; the document has all of it."""
MOST_STEPS: Final = 1_000
_LEAST_LOOKED_AT: Final = 200
_MOST_LOOKED_AT: Final = 2_000
"""So many bad endings are looked through for one page."""
_LOOKED_AT_FOR_ONE: Final = 10
"""Bad endings that are looked at for each that is wanted: most are mended by a retry."""
_MOST_SCANNED: Final = 100_000
"""If at most so many events happened since the earliest of them, these tell which endings were mended."""


@dataclass(frozen=True, slots=True)
class FailingStep:
    """One step of one document that is in ERROR or FAILED now. Times are aware, UTC.

    `failing_since`: the first bad ending after the last good one; `failed_at`: the last. `executions`: how often it
    was begun; `cursor` is the event that says so.
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
    worker: str
    trace_id: str | None
    duration_ms: float | None
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
    """A page of what is failing now and failed last within `span`. Raises what `ask` does, ValueError, `BadCursor`.

    Bad endings are gone through, the latest first, and for each it is looked up whether its step is still in it. One
    that was mended by a retry is left out; where there are many of these, a page holds fewer than `limit` and has a
    `next`.
    """
    positive("limit", limit)
    base = {
        **_parameters(store, pipeline, step_name, span, statuses),
        "most": MESSAGE_CHARACTERS,
        "scanned": _MOST_SCANNED,
    }
    place = LAST if after is None else Cursor.parse(after)
    found: list[FailingStep] = []
    looked_at = 0
    while looked_at < _MOST_LOOKED_AT:
        wanted = limit - len(found) + 1
        fetch = min(max(_LEAST_LOOKED_AT, _LOOKED_AT_FOR_ONE * wanted), _MOST_LOOKED_AT)
        base |= position(place, LAST)
        endings = ask_backward(store, "failing_endings", {**base, "fetch": fetch})
        if not endings:
            return FailingPage(tuple(found), None)
        end = Cursor(int(endings[-1]["timestamp_us"]), endings[-1]["event_id"])
        rows = ask(store, "failing_candidates", {**base, "to_us": end.micros, "to_id": str(end.event_id)})
        for chunk in chunks(rows, _characters, most=wanted + wanted // 4):
            for step in _still(store, chunk):
                if found and step.cursor == found[-1].cursor:
                    continue  # a copy of the same event
                if len(found) == limit:
                    return FailingPage(tuple(found), found[-1].cursor)
                found.append(step)
        place = end
        looked_at += len(endings)
        if len(endings) < fetch:
            return FailingPage(tuple(found), None)
    return FailingPage(tuple(found), place)


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


def _still(store: Store, rows: Sequence[Mapping[str, Any]]) -> Iterator[FailingStep]:
    """Those of the bad endings that decide what their step is in now, each once."""
    parameters = of_documents(list(dict.fromkeys((row["pipeline"], row["doc_id"]) for row in rows)))
    now = {
        (row["pipeline"], row["step_name"], row["doc_id"]): row for row in ask(store, "runs_now", parameters)
    }
    for row in rows:
        # Copies of an event come side by side, and only the one that decides is shown.
        run = now.get((row["pipeline"], row["step_name"], row["doc_id"]))
        if run is None or run["waits"] or int(run["last_event"]) != row["event_id"].int:
            continue
        del now[row["pipeline"], row["step_name"], row["doc_id"]]
        yield _step(row, run)


def _characters(row: Mapping[str, Any]) -> int:
    return len(row["pipeline"]) + len(row["doc_id"])


def _step(row: Mapping[str, Any], run: Mapping[str, Any]) -> FailingStep:
    event = Cursor(int(row["timestamp_us"]), row["event_id"])
    return FailingStep(
        pipeline=row["pipeline"],
        step_name=row["step_name"],
        doc_id=row["doc_id"],
        execution_id=row["execution_id"],
        status=ProcessingStatus(row["status"]),
        failing_since=datetime_from_us(min(int(run["since_us"]), event.micros)),
        failed_at=event.timestamp,
        attempt=int(run["attempt"]),
        executions=int(run["executions"]),
        error_type=row["error_type"],
        error_message=row["error_message"],
        worker=row["worker"],
        trace_id=row["trace_id"],
        duration_ms=row["duration_ms"],
        cursor=event,
    )
