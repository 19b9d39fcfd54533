"""How far documents are: which of the steps that their pipeline expects are done, and which are not."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import islice
from typing import Any

from steptrail.projections.clickhouse.pages import bad_cursor, seal, unseal
from steptrail.projections.clickhouse.queries import Store, ask, micros, positive, scope, stored
from steptrail.projections.reading.states import StepState
from steptrail.schemas.event import datetime_from_us
from steptrail.schemas.status import ProcessingStatus

_KIND = 68  # "D": another first byte than that of an event's cursor
_HEAD = struct.Struct(">BH")
_FIRST_SPAN, _LONGEST_SPAN = 1_000, 50_000
_AFTER_ALL_US = 2**61  # beyond every time that the store holds, well inside 64 bits
_DONE = (ProcessingStatus.SUCCESS, ProcessingStatus.WARNING, ProcessingStatus.SKIPPED)
_BAD = (ProcessingStatus.ERROR, ProcessingStatus.FAILED)
_OPEN = (ProcessingStatus.PENDING, ProcessingStatus.RUNNING)


class CompletenessState(str, Enum):
    """What can be said of a document whose pipeline declared its steps."""

    COMPLETE = "complete"
    """Every expected step is done, and no other step was heard of."""
    INCOMPLETE = "incomplete"
    """At least one expected step is not done; there may be unexpected ones too."""
    UNEXPECTED = "unexpected"
    """Every expected step is done, and there are others that nobody expected."""


@dataclass(frozen=True, slots=True)
class DocumentCursor:
    """A position in the order of documents: just at `doc_id` of `pipeline`.

    `str()` gives an opaque text for a URL or a command line, `DocumentCursor.parse` takes it back.
    """

    pipeline: str
    doc_id: str

    def __str__(self) -> str:
        pipeline = self.pipeline.encode()
        return seal(_HEAD.pack(_KIND, len(pipeline)) + pipeline + self.doc_id.encode())

    @classmethod
    def parse(cls, text: str | DocumentCursor) -> DocumentCursor:
        """The cursor that `text` stands for; a DocumentCursor is given back as it is. Raises `BadCursor`."""
        if isinstance(text, DocumentCursor):
            return text
        body = unseal(text)
        if len(body) < _HEAD.size or body[0] != _KIND:
            raise bad_cursor(text, "it is of another kind of page")
        end = _HEAD.size + _HEAD.unpack_from(body)[1]
        try:
            return cls(body[_HEAD.size : end].decode(), body[end:].decode())
        except UnicodeDecodeError:
            raise bad_cursor(text, "it holds no names") from None


@dataclass(frozen=True, slots=True)
class DocumentCompleteness:
    """How far one document of one pipeline is.

    Each expected step is in exactly one of `done`, `failed`, `unfinished` and `missing`, by its current state (as
    `steptrail.projections.reading.states` has it); all are in the order in which they were declared.
    """

    pipeline: str
    doc_id: str
    state: CompletenessState
    expected: tuple[str, ...]
    done: tuple[str, ...]
    """SUCCESS, WARNING or SKIPPED."""
    failed: tuple[str, ...]
    """ERROR or FAILED."""
    unfinished: tuple[str, ...]
    """PENDING or RUNNING: not ended yet, or begun again after it had been done."""
    missing: tuple[str, ...]
    """Nothing was heard of it."""
    unexpected: tuple[str, ...]
    """Steps that were heard of, in whatever state, though nobody expects them; by name."""
    updated_at: datetime
    """The time of the latest event that decided the state of a step. Aware, UTC."""

    @property
    def cursor(self) -> DocumentCursor:
        """The position of this document, for a page that starts after it."""
        return DocumentCursor(self.pipeline, self.doc_id)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> DocumentCompleteness:
        """From a row with the columns of `sql/completeness_columns.sql`."""
        lists = ("expected", "done", "failed", "unfinished", "missing", "unexpected")
        return cls(
            pipeline=row["pipeline"],
            doc_id=row["doc_id"],
            state=CompletenessState(row["state"]),
            updated_at=datetime_from_us(row["updated_us"]),
            **{name: tuple(row[name]) for name in lists},
        )


@dataclass(frozen=True, slots=True)
class DocumentPage:
    """Some documents, in the order of pipeline and doc_id; `next` goes on after them (None: this is the end)."""

    items: Sequence[DocumentCompleteness]
    next: DocumentCursor | None

    def __iter__(self) -> Iterator[DocumentCompleteness]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def document_completeness(store: Store, pipeline: str | None, doc_id: str) -> list[DocumentCompleteness]:
    """How far a document is, in each pipeline that declared its steps and has heard of it."""
    rows = ask(store, "document_completeness", {**scope(pipeline, store), "doc_id": stored(doc_id, store)})
    return [DocumentCompleteness.from_row(row) for row in rows]


def completeness_of(states: Sequence[StepState], expected: Sequence[str]) -> DocumentCompleteness:
    """What `document_completeness` says of one document of one pipeline, from its states (at least one)."""
    by_name = {state.step_name: state.status for state in states}

    def those_in(statuses: Collection[ProcessingStatus]) -> tuple[str, ...]:
        return tuple(name for name in expected if by_name.get(name) in statuses)

    done = those_in(_DONE)
    unexpected = tuple(sorted(by_name.keys() - set(expected)))
    state = CompletenessState.COMPLETE
    if len(done) < len(expected):
        state = CompletenessState.INCOMPLETE
    elif unexpected:
        state = CompletenessState.UNEXPECTED
    return DocumentCompleteness(
        pipeline=states[0].pipeline,
        doc_id=states[0].doc_id,
        state=state,
        expected=tuple(expected),
        done=done,
        failed=those_in(_BAD),
        unfinished=those_in(_OPEN),
        missing=tuple(name for name in expected if name not in by_name),
        unexpected=unexpected,
        updated_at=max(each.updated_at for each in states),
    )


def incomplete_documents(
    store: Store,
    pipeline: str | None,
    after: DocumentCursor | str | None,
    limit: int,
    states: Collection[CompletenessState],
    quiet_since: datetime | None,
) -> DocumentPage:
    """A page of the documents in one of `states`, of which nothing was heard at or after `quiet_since`."""
    positive("limit", limit)
    chosen: dict[str, Any] = {
        **scope(pipeline),
        "states": sorted({CompletenessState(state).value for state in states}),
        "quiet_us": micros("quiet_since", quiet_since, _AFTER_ALL_US),
    }
    position = None if after is None else DocumentCursor.parse(after)
    found = list(islice(_matching(store, chosen, position, limit + 1), limit + 1))
    more = len(found) > limit
    return DocumentPage(tuple(found[:limit]), found[limit - 1].cursor if more else None)


def _matching(
    store: Store, chosen: Mapping[str, Any], position: DocumentCursor | None, wanted: int
) -> Iterator[DocumentCompleteness]:
    """Documents that match, looked for in spans of so many documents.

    The state of a document has to be folded from its events; span by span this takes the memory of one span,
    whatever the size of the table, and ends where enough is found.
    """
    span = min(max(_FIRST_SPAN, wanted), _LONGEST_SPAN)
    while True:
        parameters = {**chosen, **_bounds("from_start", "from", position)}
        end = ask(store, "documents_to_look_at", {**parameters, "skip": span - 1})
        upto = DocumentCursor(end[0]["pipeline"], end[0]["doc_id"]) if end else None
        parameters |= {**_bounds("to_end", "to", upto), "fetch": wanted}
        for row in ask(store, "incomplete_documents", parameters):
            wanted -= 1
            yield DocumentCompleteness.from_row(row)
        if upto is None or wanted <= 0:
            return
        position, span = upto, min(span * 4, _LONGEST_SPAN)


def _bounds(unbounded: str, side: str, at: DocumentCursor | None) -> dict[str, Any]:
    return {
        unbounded: at is None,
        f"{side}_pipeline": "" if at is None else at.pipeline,
        f"{side}_doc": "" if at is None else at.doc_id,
    }
