"""How documents are: each step's status, when something was heard first and last.

Few and narrow columns of their events are read, and folded here: the view `step_state` takes several times as long.
Only documents with very many events are folded by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from steptrail.projections.clickhouse.pages import Cursor
from steptrail.projections.clickhouse.queries import Store, ask, micros
from steptrail.projections.reading.spans import CHUNK, LAST, chunks, of_documents
from steptrail.projections.reading.whole_document import bare_event
from steptrail.schemas.event import datetime_from_us
from steptrail.schemas.fold import Fold
from steptrail.schemas.status import ProcessingStatus

WORST_FIRST: Final = (
    ProcessingStatus.FAILED,
    ProcessingStatus.ERROR,
    ProcessingStatus.RUNNING,
    ProcessingStatus.PENDING,
    ProcessingStatus.WARNING,
    ProcessingStatus.SUCCESS,
    ProcessingStatus.SKIPPED,
)
"""A document's status is the first of these that one of its steps has."""

_MOST_ROWS: Final = 200
"""Rows of `steps`; the view folds documents with more."""

Name = tuple[str, str]
"""Pipeline and document."""


def worst(statuses: Iterable[ProcessingStatus]) -> ProcessingStatus:
    """The status of a document whose steps have these, of which there is at least one."""
    return min(statuses, key=WORST_FIRST.index)


@dataclass(frozen=True, slots=True)
class DocumentStep:
    """One step of a document and its current status."""

    step_name: str
    status: ProcessingStatus


@dataclass(frozen=True, slots=True)
class DocumentSummary:
    """One document of one pipeline, its steps in the order in which they began. Times are aware, UTC.

    `status` is the worst of its steps'. `first_at` and `last_at`: its first and last event, by the workers' clocks;
    `updated_at`: when the state of a step last changed.
    """

    pipeline: str
    doc_id: str
    status: ProcessingStatus
    steps: Sequence[DocumentStep]
    events: int
    first_at: datetime
    last_at: datetime
    updated_at: datetime
    last_event: Cursor


def summaries_of(
    store: Store, names: Sequence[Name], until: datetime | None = None
) -> dict[Name, DocumentSummary]:
    """Documents by (pipeline, doc_id); `last_event` is their last before `until`. Unknown ones are left out."""
    return dict(in_order(store, names, until))


def in_order(
    store: Store, names: Sequence[Name], until: datetime | None, *, most: int = CHUNK
) -> Iterator[tuple[Name, DocumentSummary]]:
    """The same in the order of `names`, asked for in parts of at most `most`: who has enough leaves off."""
    end_us = micros("until", until, LAST.micros)
    for chunk in chunks(names, lambda name: len(name[0]) + len(name[1]), min(most, CHUNK)):
        found = _summaries(store, chunk, end_us)
        yield from ((name, found[name]) for name in chunk if name in found)


def _summaries(store: Store, names: Sequence[Name], end_us: int) -> dict[Name, DocumentSummary]:
    rows_of: dict[Name, list[Mapping[str, Any]]] = {name: [] for name in names}
    for row in ask(store, "documents_events", {**of_documents(names), "most": _MOST_ROWS + 1}):
        rows = rows_of.get((row["pipeline"], row["doc_id"]))
        if rows is not None:
            rows.append(row)
    found = {
        name: _folded(name, rows, end_us) for name, rows in rows_of.items() if 0 < len(rows) <= _MOST_ROWS
    }
    many = [name for name, rows in rows_of.items() if len(rows) > _MOST_ROWS]
    if many:
        for row in ask(store, "documents_states", {**of_documents(many), "end_us": end_us}):
            found[row["pipeline"], row["doc_id"]] = _from_row(row)
    return found


def _folded(name: Name, rows: Sequence[Mapping[str, Any]], end_us: int) -> DocumentSummary:
    fold = Fold()
    for row in rows:
        event = bare_event(row)
        fold.add(event, event.timestamp)
    current = [step.current for step in fold.steps().values()]
    current.sort(
        key=lambda run: (run.winner_time if run.started_at is None else run.started_at, run.step_name)
    )
    times = {row["event_id"]: int(row["timestamp_us"]) for row in rows}
    before = [(at, event_id.int, event_id) for event_id, at in times.items() if at < end_us]
    last_us, _, last_id = max(before, default=(0, 0, UUID(int=0)))
    return DocumentSummary(
        *name,
        status=worst(run.status for run in current),
        steps=tuple(DocumentStep(run.step_name, run.status) for run in current),
        events=len(times),
        first_at=datetime_from_us(min(times.values())),
        last_at=datetime_from_us(last_us),
        updated_at=datetime_from_us(max(run.winner_time for run in current)),
        last_event=Cursor(last_us, last_id),
    )


def _from_row(row: Mapping[str, Any]) -> DocumentSummary:
    steps = tuple(DocumentStep(name, ProcessingStatus(status)) for name, status, _ in row["steps"])
    return DocumentSummary(
        pipeline=row["pipeline"],
        doc_id=row["doc_id"],
        status=worst(step.status for step in steps),
        steps=steps,
        events=int(row["events"]),
        first_at=datetime_from_us(row["first_us"]),
        last_at=datetime_from_us(row["latest_us"]),
        updated_at=datetime_from_us(row["updated_us"]),
        last_event=Cursor(int(row["latest_us"]), row["latest_id"]),
    )
