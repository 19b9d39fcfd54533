"""Search by whatever is in hand: a part of an id, of an error's message, a worker, a trace, an execution."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from steptrail.projections.clickhouse.pages import Cursor
from steptrail.projections.clickhouse.queries import Store, ask, positive, scope
from steptrail.projections.reading.spans import Span
from steptrail.schemas.event import datetime_from_us
from steptrail.schemas.status import ProcessingStatus

KINDS: Final = ("documents", "errors", "groups", "workers", "traces", "executions")
LONGEST_TEXT: Final = 500
SHORTEST_TEXT: Final = 2
MESSAGE_CHARACTERS: Final = 500
_SECONDS: Final = 1.5
_IN_TIME: Final = {"max_execution_time": _SECONDS, "timeout_overflow_mode": "break"}
"""How long documents and traces are looked for; what was found by then is given."""
_HEX = re.compile(r"[0-9a-fA-F]{4,32}")


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing that was found, of one of KINDS; what does not apply to it is None or empty. Times are aware, UTC."""

    kind: str
    pipeline: str
    doc_id: str | None = None
    step_name: str | None = None
    status: ProcessingStatus | None = None
    group_id: str | None = None
    worker: str | None = None
    trace_id: str | None = None
    execution_id: UUID | None = None
    error_type: str | None = None
    text: str | None = None
    """An error's message, or a group's template."""
    at: datetime | None = None
    event: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, by kind in the order of KINDS, at most `limit` of each; `more`: of these kinds there
    is more, or not all was looked through.

    `matched_errors` is how many errors match within the span.
    """

    hits: Sequence[Hit]
    more: Sequence[str]
    matched_errors: int


def search(
    store: Store,
    text: str,
    pipeline: str | None = None,
    *,
    span: Span = Span(),  # noqa: B008  frozen
    kinds: Sequence[str] = KINDS,
    limit: int = 20,
) -> Found:
    """What has `text` in it, upper and lower case the same; errors and traces within `span`, the rest at any time.

    Raises ValueError for a text shorter than SHORTEST_TEXT or longer than LONGEST_TEXT, and what `ask` does.
    """
    text = text.strip()
    if not SHORTEST_TEXT <= len(text) <= LONGEST_TEXT:
        raise ValueError(f"search for {SHORTEST_TEXT} to {LONGEST_TEXT} characters, not {len(text)}")
    if unknown := set(kinds) - set(KINDS):
        raise ValueError(f"kinds are {', '.join(KINDS)}, not {', '.join(sorted(unknown))}")
    base = {**scope(pipeline, store), "text": text, "fetch": positive("limit", limit) + 1}
    matched = 0
    hits: list[Hit] = []
    more: list[str] = []
    for kind in KINDS:
        if kind not in kinds:
            continue
        began = time.monotonic()
        rows = _ASK[kind](store, base, span)
        if kind == "errors" and rows:
            matched = int(rows[0]["matched"])
        hits += [_HIT[kind](row) for row in rows[:limit]]
        if len(rows) > limit or (kind in _CUT and time.monotonic() - began >= _SECONDS):
            more.append(kind)
    return Found(tuple(hits), tuple(more), matched)


_CUT: Final = ("documents", "traces")
Rows = list[dict[str, Any]]


def _documents(store: Store, base: dict[str, Any], _: Span) -> Rows:
    return ask(store, "search_documents", base, _IN_TIME)


def _errors(store: Store, base: dict[str, Any], span: Span) -> Rows:
    return ask(store, "search_errors", {**base, **span.parameters(), "most": MESSAGE_CHARACTERS})


def _traces(store: Store, base: dict[str, Any], span: Span) -> Rows:
    text = base["text"].lower()
    if not _HEX.fullmatch(text):
        return []
    return ask(store, "search_traces", {**base, **span.parameters(), "text": text}, _IN_TIME)


def _executions(store: Store, base: dict[str, Any], _: Span) -> Rows:
    digits = base["text"].lower().replace("-", "")
    if not _HEX.fullmatch(digits) or len(digits) < 8:
        return []
    parameters = {name: base[name] for name in ("any_pipeline", "pipeline", "fetch")}
    bounds = {"first": int(digits.ljust(32, "0"), 16), "last": int(digits.ljust(32, "f"), 16)}
    return ask(store, "search_executions", {**parameters, **bounds})


def _named(name: str) -> Callable[[Store, dict[str, Any], Span], Rows]:
    return lambda store, base, _: ask(store, name, base)


_ASK: Final[dict[str, Callable[[Store, dict[str, Any], Span], Rows]]] = {
    "documents": _documents,
    "errors": _errors,
    "groups": _named("search_groups"),
    "workers": _named("search_workers"),
    "traces": _traces,
    "executions": _executions,
}

_HIT: Final[dict[str, Callable[[dict[str, Any]], Hit]]] = {
    "documents": lambda row: Hit("documents", row["pipeline"], row["doc_id"]),
    "errors": lambda row: Hit(
        "errors",
        row["pipeline"],
        row["doc_id"],
        row["step_name"],
        ProcessingStatus(row["status"]),
        worker=row["worker"],
        error_type=row["error_type"],
        text=row["error_message"],
        at=datetime_from_us(row["timestamp_us"]),
        event=Cursor(int(row["timestamp_us"]), row["event_id"]),
    ),
    "groups": lambda row: Hit(
        "groups",
        row["pipeline_name"],
        step_name=row["step"],
        group_id=row["group_id"],
        error_type=row["type"] or None,
        text=row["message"],
        at=datetime_from_us(row["last_ms"] * 1000),
    ),
    "workers": lambda row: Hit(
        "workers", row["pipeline"], worker=row["worker"], at=datetime_from_us(row["last_ms"] * 1000)
    ),
    "traces": lambda row: Hit(
        "traces",
        row["pipeline"],
        row["doc_id"],
        trace_id=row["trace_id"],
        at=datetime_from_us(row["timestamp_us"]),
    ),
    "executions": lambda row: Hit(
        "executions",
        row["pipeline_name"],
        row["document"],
        row["step"],
        execution_id=row["execution_id"],
        at=datetime_from_us(row["timestamp_us"]),
    ),
}
