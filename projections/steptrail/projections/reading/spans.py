"""What the questions over all documents share: a span of time, and lists that are cut to fit into requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from steptrail.projections.clickhouse.pages import Cursor
from steptrail.projections.clickhouse.queries import Store, micros, scope, stored

T = TypeVar("T")

BEFORE_ALL: Final = -(2**61)
AFTER_ALL: Final = 2**61
"""Beyond every time that the store holds, well inside 64 bits."""

FIRST: Final = Cursor(BEFORE_ALL, UUID(int=0))
LAST: Final = Cursor(AFTER_ALL, UUID(int=2**128 - 1))

_FEW_PIPELINES: Final = 4
"""Of so many, documents are looked up by pipeline and by id; where there are more, by pairs of both."""
CHUNK: Final = 100
"""So many documents, events or steps are asked about at once, unless said otherwise."""
_CHUNK_CHARACTERS: Final = 8_000  # what goes into a request's address, where a character may become nine


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` (inclusive) to `until` (exclusive), both aware; None: without an end on that side."""

    since: datetime | None = None
    until: datetime | None = None

    def parameters(self) -> dict[str, int]:
        """`start_us` and `end_us`. Raises ValueError for a time without a zone."""
        return {
            "start_us": micros("since", self.since, BEFORE_ALL),
            "end_us": micros("until", self.until, AFTER_ALL),
        }


def step_scope(store: Store, pipeline: str | None, step_name: str | None) -> dict[str, Any]:
    """The parameters of a statement about one step, or about all of one pipeline, or of all (None)."""
    return {
        **scope(pipeline, store),
        "any_step": step_name is None,
        "step_name": stored(step_name or "", store),
    }


def of_documents(names: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The parameters of a statement about some documents, each by pipeline and id."""
    pipelines = [pipeline for pipeline, _ in names]
    few = len(set(pipelines)) <= _FEW_PIPELINES
    return {"pipelines": pipelines, "docs": [doc_id for _, doc_id in names], "few_pipelines": few}


def position(after: Cursor | str | None, start: Cursor) -> dict[str, Any]:
    """The parameters of a page that begins after a cursor. Raises `BadCursor`."""
    cursor = start if after is None else Cursor.parse(after)
    return {"from_us": cursor.micros, "from_id": str(cursor.event_id)}


def chunks(
    items: Sequence[T], size_of: Callable[[T], int], most: int = CHUNK, longest: int = _CHUNK_CHARACTERS
) -> Iterator[list[T]]:
    """The items in lists of at most `most` each, and of at most `longest` together unless one alone is longer.

    By default so many characters fit into the address of one request.
    """
    chunk: list[T] = []
    size = 0
    for item in items:
        more = size_of(item)
        if chunk and (len(chunk) == most or size + more > longest):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += more
    if chunk:
        yield chunk
