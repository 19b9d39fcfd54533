"""Documents with the state of each of their steps: by name, or those first of which something was heard last."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from steptrail.projections.clickhouse.pages import Cursor
from steptrail.projections.clickhouse.queries import Store, ask, micros, positive, scope
from steptrail.projections.reading.completeness import DocumentCursor
from steptrail.projections.reading.document_summaries import (
    WORST_FIRST,
    DocumentSummary,
    in_order,
    summaries_of,
)
from steptrail.projections.reading.naming import ask_about
from steptrail.projections.reading.spans import BEFORE_ALL, CHUNK, LAST, Span
from steptrail.projections.reading.windows import ask_backward
from steptrail.schemas.status import ProcessingStatus

_MOST_LOOKED_AT: Final = 250
"""So many documents are looked through for one page, where only some states are wanted."""
_EVENTS_OF_A_DOCUMENT: Final = 12
_LONGEST_BLOCK: Final = 20_000


@dataclass(frozen=True, slots=True)
class DocumentsPage:
    """Some documents. `next` goes on behind what was looked at (None: this is the end).

    A page may hold fewer than were asked for, even none, and still have a `next`: only so many documents are looked
    through for one page.
    """

    items: Sequence[DocumentSummary]
    next: str | None


def documents_by_name(
    store: Store,
    pipeline: str | None,
    *,
    prefix: str = "",
    statuses: Collection[ProcessingStatus] = WORST_FIRST,
    after: DocumentCursor | str | None = None,
    limit: int = 100,
) -> DocumentsPage:
    """A page of documents whose names begin so, by pipeline and name.

    Raises what `ask` does, ValueError, `BadCursor`.
    """
    wanted = {ProcessingStatus(status) for status in statuses}
    fetch = positive("limit", limit) + 1 if len(wanted) == len(WORST_FIRST) else max(limit + 1, 100)
    place = None if after is None else DocumentCursor.parse(after)
    found: list[DocumentSummary] = []
    looked_at = 0
    while looked_at < _MOST_LOOKED_AT:
        parameters = {
            **scope(pipeline, store),
            "prefix": prefix,
            "from_start": place is None,
            "from_pipeline": place.pipeline if place else "",
            "from_doc": place.doc_id if place else "",
            "fetch": fetch,
        }
        names = [(row["pipeline"], row["doc_id"]) for row in ask(store, "documents_by_name", parameters)]
        looked_at += len(names)
        summaries = summaries_of(store, names)
        for name in names:
            place = DocumentCursor(*name)
            summary = summaries.get(name)
            if summary is not None and summary.status in wanted:
                if len(found) == limit:
                    last = found[-1]
                    return DocumentsPage(tuple(found), str(DocumentCursor(last.pipeline, last.doc_id)))
                found.append(summary)
        if len(names) < fetch:
            return DocumentsPage(tuple(found), None)
    return DocumentsPage(tuple(found), str(place))


def documents_by_time(
    store: Store,
    pipeline: str | None,
    *,
    span: Span = Span(),  # noqa: B008  frozen
    prefix: str = "",
    statuses: Collection[ProcessingStatus] = WORST_FIRST,
    after: Cursor | str | None = None,
    limit: int = 100,
) -> DocumentsPage:
    """A page of documents of which something was heard within the span, what was heard last first.

    A document of which more is heard meanwhile moves to the front, and is not on later pages.
    """
    positive("limit", limit)
    wanted = {ProcessingStatus(status) for status in statuses}
    place = LAST if after is None else Cursor.parse(after)
    if span.until is not None:
        place = min(place, Cursor(micros("until", span.until, 0), UUID(int=0)))
    found: list[DocumentSummary] = []
    # Most documents are well in the end, if not yet those heard of last. Of other states there are few, so that many
    # have to be looked through.
    few = ProcessingStatus.SUCCESS not in wanted
    of_documents = _MOST_LOOKED_AT if few else limit if len(wanted) == len(WORST_FIRST) else 2 * limit
    fetch = min(max(200, of_documents * _EVENTS_OF_A_DOCUMENT), _LONGEST_BLOCK)
    at_once = CHUNK if few else limit + limit // 2 + 1
    looked_at = 0
    while looked_at < _MOST_LOOKED_AT:
        parameters = {
            **scope(pipeline, store),
            "prefix": prefix,
            "start_us": micros("since", span.since, BEFORE_ALL),
            "from_us": place.micros,
            "from_id": str(place.event_id),
            "fetch": fetch,
        }
        rows = ask_backward(store, "documents_by_event", parameters)
        anchors: dict[tuple[str, str], Cursor] = {}
        for row in rows:
            anchors.setdefault(
                (row["pipeline"], row["doc_id"]), Cursor(int(row["timestamp_us"]), row["event_id"])
            )
        looked_at += len(anchors)
        names = _maybe_in(store, wanted, list(anchors)) if few else list(anchors)
        for name, summary in in_order(store, names, span.until, most=at_once):
            # Of an older event of a document that stands further ahead nothing is to be shown.
            if summary.last_event == anchors[name] and summary.status in wanted:
                if len(found) == limit:
                    return DocumentsPage(tuple(found), str(found[-1].last_event))
                found.append(summary)
        if len(rows) < fetch:
            return DocumentsPage(tuple(found), None)
        place = Cursor(int(rows[-1]["timestamp_us"]), rows[-1]["event_id"])
    return DocumentsPage(tuple(found), str(place))


def _maybe_in(
    store: Store, wanted: Collection[ProcessingStatus], names: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Those of the documents that may be in a wanted state."""
    # Who never had an event of a status is not in it. Of endings, which few documents have, that is enough.
    statement = "documents_ended" if all(status.is_terminal for status in wanted) else "documents_maybe_in"
    asked = {"statuses": sorted(status.value for status in wanted)}
    maybe = {(row["pipeline"], row["doc_id"]) for row in ask_about(store, statement, names, asked)}
    return [name for name in names if name in maybe]
