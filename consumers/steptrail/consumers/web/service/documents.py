"""Documents, their events and attempts, what is missing, and search."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from steptrail.consumers.web.limited_store import Lane, lane
from steptrail.consumers.web.models import documents
from steptrail.consumers.web.models.common import shown
from steptrail.consumers.web.problems import ProblemError
from steptrail.consumers.web.spans import Between
from steptrail.consumers.web.workers import side_by_side
from steptrail.projections.clickhouse.pages import Cursor, Page
from steptrail.projections.clickhouse.queries import Store, stored
from steptrail.projections.reading.attempts import attempts
from steptrail.projections.reading.completeness import CompletenessState, completeness_of
from steptrail.projections.reading.document_summaries import summaries_of, worst
from steptrail.projections.reading.documents import documents_by_name, documents_by_time
from steptrail.projections.reading.reader import Reader
from steptrail.projections.reading.records import StepRecord
from steptrail.projections.reading.search import search
from steptrail.projections.reading.stalls import ObservedRecord
from steptrail.projections.reading.states import StepState
from steptrail.projections.reading.whole_document import whole_document
from steptrail.projections.stores.expected_steps import ExpectedSteps
from steptrail.schemas.status import ProcessingStatus

FIRST_EVENTS: Final = 1_000
Order = Literal["recent", "name"]


def documents_answer(
    store: Store,
    pipeline: str | None,
    order: Order,
    prefix: str,
    statuses: Collection[ProcessingStatus],
    span: Between,
    after: str | None,
    limit: int,
) -> documents.DocumentsAnswer:
    """Documents with their states: those heard of last first, or by name (whatever the span)."""
    if order == "name":
        page = documents_by_name(store, pipeline, prefix=prefix, statuses=statuses, after=after, limit=limit)
    else:
        page = documents_by_time(
            store, pipeline, span=span.span, prefix=prefix, statuses=statuses, after=after, limit=limit
        )
    items = [documents.DocumentSummary.model_validate(each, extra="ignore") for each in page.items]
    return documents.DocumentsAnswer(items=items, next=shown(page.next))


def document_answer(
    store: Store, doc_id: str, pipeline: str | None, pipelines: Collection[str] | None = None
) -> documents.DocumentAnswer:
    """One document in each pipeline that knows it, and may be seen. Raises ProblemError (404)."""
    whole = _parts(store, pipeline, doc_id)
    states = [each for each in whole.states if pipelines is None or each.pipeline in pipelines]
    if not states:
        where = f" in pipeline {pipeline!r}" if pipeline else ""
        raise ProblemError(
            404,
            "not_found",
            f"nothing has been heard of a document {doc_id[:200]!r}{where}, or it has expired",
        )
    names = list(dict.fromkeys(state.pipeline for state in states))
    return documents.DocumentAnswer(
        items=[
            _document_in(store, name, doc_id, whole if pipeline == name else _parts(store, name, doc_id))
            for name in names
        ]
    )


@dataclass(frozen=True)
class _Parts:
    """What is known of a document, in one pipeline or in all of them."""

    states: Sequence[StepState]
    events: Page[StepRecord]
    observed: Sequence[ObservedRecord]
    expected: Sequence[ExpectedSteps]


def _parts(store: Store, pipeline: str | None, doc_id: str) -> _Parts:
    """All that is to be asked, at the same time; without a pipeline the states alone, which name the pipelines."""
    reader = Reader(store)
    if pipeline is None:
        return _Parts(reader.document_state(None, doc_id), Page((), None, None), (), ())
    whole, observed, expected = side_by_side(
        lambda: whole_document(store, pipeline, doc_id, FIRST_EVENTS),
        lambda: reader.observations(pipeline, doc_id),
        lambda: reader.expected_steps(pipeline),
    )
    if whole is not None and not observed:
        return _Parts(whole.states, Page(whole.events, None, None), observed, expected)
    states, events = side_by_side(  # these say since when a step is stalled, too
        lambda: reader.document_state(pipeline, doc_id),
        lambda: reader.timeline(pipeline, doc_id, limit=FIRST_EVENTS),
    )
    return _Parts(states, events, observed, expected)


def _document_in(store: Store, pipeline: str, doc_id: str, parts: _Parts) -> documents.DocumentIn:
    events, states = parts.events.items, parts.states
    if events and parts.events.next is None:
        first_at, last_at, total = events[0].timestamp, events[-1].timestamp, len(events)
    else:  # there are more than are shown at first
        name = pipeline, stored(doc_id, store)
        summary = summaries_of(store, [name])[name]
        first_at, last_at, total = summary.first_at, summary.last_at, summary.events
    complete = [completeness_of(states, each.steps) for each in parts.expected]
    return documents.DocumentIn(
        pipeline=pipeline,
        doc_id=states[0].doc_id,
        status=worst(each.status for each in states).value,
        first_at=first_at,
        last_at=last_at,
        events_total=total,
        completeness=documents.Completeness.model_validate(complete[0], extra="ignore") if complete else None,
        steps=[documents.StepNow.model_validate(each, extra="ignore") for each in states],
        attempts=[documents.StepAttempts.model_validate(each, extra="ignore") for each in attempts(events)],
        observed=[
            documents.Observed(
                step_name=each.step_name,
                execution_id=str(each.execution_id),
                what=each.what.value,
                number=each.number,
                sentence=each.sentence,
                stands=each.stands,
                queued=each.queued,
                started_at=each.started_at,
                deadline_seconds=each.deadline_s,
                watermark=each.watermark,
            )
            for each in parts.observed
        ],
        events=[documents.Event.model_validate(each) for each in events],
        next=shown(parts.events.next),
    )


def events_answer(
    store: Store,
    pipeline: str | None,
    doc_id: str | None,
    statuses: Collection[ProcessingStatus],
    span: Between,
    after: str | None,
    before: str | None,
    limit: int,
    newest_first: bool,
) -> documents.EventsAnswer:
    """Events of all documents or of one, by status and time."""
    reader = Reader(store)
    if after is not None and before is not None:
        raise ProblemError(
            400, "bad_request", "a page comes after a cursor or before one: give only one of them"
        )
    if doc_id is None:
        page = reader.events(
            pipeline, after, limit, before=before, statuses=statuses, start=span.since, end=span.until,
            newest_first=newest_first,
        )  # fmt: skip
    else:
        page = reader.timeline(
            pipeline, doc_id, after, limit, before=before, statuses=statuses, start=span.since, end=span.until,
            newest_first=newest_first,
        )  # fmt: skip
    return documents.EventsAnswer(
        items=[documents.Event.model_validate(each) for each in page.items],
        next=shown(page.next),
        previous=shown(page.previous),
    )


def event_answer(store: Store, cursor: str, pipeline: str | None) -> documents.EventAnswer:
    """The event that a cursor names. Raises ProblemError (404), BadCursor."""
    at = Cursor.parse(cursor)
    try:
        start = at.timestamp
    except (ValueError, OverflowError):
        raise ProblemError(404, "not_found", "there is no such event") from None
    page = Reader(store).events(
        pipeline, limit=1_000, start=start, end=start + timedelta(microseconds=1), newest_first=False
    )
    for event in page.items:
        if event.event_id == at.event_id:
            return documents.EventAnswer(event=documents.Event.model_validate(event))
    raise ProblemError(404, "not_found", "there is no such event, or it has expired")


def incomplete_answer(
    store: Store,
    pipeline: str | None,
    states: Collection[CompletenessState],
    quiet: Between | None,
    after: str | None,
    limit: int,
) -> documents.IncompleteAnswer:
    """Documents that lack some of the steps that their pipeline expects."""
    quiet_since = None if quiet is None else quiet.since
    page = Reader(store).incomplete(pipeline, after, limit, quiet_since=quiet_since, states=states)
    items = [documents.IncompleteRow.model_validate(each) for each in page.items]
    return documents.IncompleteAnswer(items=items, next=shown(page.next))


def search_answer(
    store: Store, text: str, pipeline: str | None, span: Between, kinds: Sequence[str], limit: int
) -> documents.SearchAnswer:
    """What has this text in it."""
    with lane(Lane.LONG):
        found = search(store, text, pipeline, span=span.span, kinds=kinds, limit=limit)
    return documents.SearchAnswer(
        items=[documents.Hit.model_validate(each) for each in found.hits],
        more=list(found.more),
        matched_errors=found.matched_errors,
    )
