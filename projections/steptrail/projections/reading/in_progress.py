"""What runs and what waits now, how long it has, and which of it is known to be stuck."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from steptrail.projections.clickhouse.pages import Cursor
from steptrail.projections.clickhouse.queries import Store, ask, positive
from steptrail.projections.reading.spans import FIRST, position, step_scope
from steptrail.schemas.event import datetime_from_us
from steptrail.schemas.status import ProcessingStatus

OPEN: Final = (ProcessingStatus.RUNNING, ProcessingStatus.PENDING)
MOST_STEPS: Final = 1_000


@dataclass(frozen=True, slots=True)
class OpenStep:
    """One step of one document that is RUNNING, or PENDING and not begun, since `open_since` (aware, UTC).

    `stalled_since`: it is known to be past its deadline, of a PENDING one that nobody takes it; `sentence` is the
    evidence. None: it is not, as far as the health consumer has judged.
    """

    pipeline: str
    step_name: str
    doc_id: str
    execution_id: UUID
    status: ProcessingStatus
    open_since: datetime
    attempt: int
    executions: int
    stalled_since: datetime | None
    deadline_seconds: float | None
    sentence: str | None
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class OpenCount:
    """How many documents run and wait in one step now, and since when the first of them does (None: none does)."""

    pipeline: str
    step_name: str
    running: int
    queued: int
    running_since: datetime | None
    queued_since: datetime | None


@dataclass(frozen=True, slots=True)
class OpenPage:
    """Some open steps, those that began first in front; `next` goes on after them (None: this is the end)."""

    items: Sequence[OpenStep]
    next: Cursor | None


def in_progress(
    store: Store,
    pipeline: str | None,
    step_name: str | None = None,
    *,
    statuses: Collection[ProcessingStatus] = OPEN,
    only_stalled: bool = False,
    after: Cursor | str | None = None,
    limit: int = 100,
) -> OpenPage:
    """A page of what runs or waits now. Raises what `ask` does, ValueError, `BadCursor`."""
    chosen = sorted({ProcessingStatus(status).value for status in statuses})
    if not set(chosen) <= {status.value for status in OPEN}:
        raise ValueError(f"what is in progress is RUNNING or PENDING, not {', '.join(chosen)}")
    parameters = {
        **step_scope(store, pipeline, step_name),
        **position(after, FIRST),
        "statuses": chosen,
        "only_stalled": only_stalled,
        "fetch": positive("limit", limit) + 1,
    }
    rows = ask(store, "in_progress", parameters)
    items = tuple(
        OpenStep(
            pipeline=row["pipeline"],
            step_name=row["step_name"],
            doc_id=row["doc_id"],
            execution_id=row["execution_id"],
            status=ProcessingStatus(row["status"]),
            open_since=datetime_from_us(row["since_us"]),
            attempt=int(row["attempt"]),
            executions=int(row["executions"]),
            stalled_since=None if row["stalled_us"] is None else datetime_from_us(row["stalled_us"]),
            deadline_seconds=row["deadline_s"],
            sentence=row["sentence"] or None,
            cursor=Cursor(int(row["since_us"]), row["execution_id"]),
        )
        for row in rows[:limit]
    )
    return OpenPage(items, items[-1].cursor if len(rows) > limit else None)


def in_progress_counts(store: Store, pipeline: str | None, step_name: str | None = None) -> list[OpenCount]:
    """How many documents run and wait now, by step."""
    parameters = {**step_scope(store, pipeline, step_name), "fetch": MOST_STEPS}
    return [
        OpenCount(
            row["pipeline"],
            row["step_name"],
            int(row["running"]),
            int(row["queued"]),
            datetime_from_us(row["running_us"]) if row["running"] else None,
            datetime_from_us(row["queued_us"]) if row["queued"] else None,
        )
        for row in ask(store, "in_progress_counts", parameters)
    ]
