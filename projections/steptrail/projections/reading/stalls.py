"""Stalled executions as the tables know them: which are late, which are said to be stalled, and what became of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from steptrail.projections.clickhouse.queries import Store, ask, scope, stored
from steptrail.projections.reading.spans import BEFORE_ALL, chunks
from steptrail.schemas.event import datetime_from_us
from steptrail.schemas.observation import Observed
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.step import ObservedError, ObservedStep

_PAGE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Overdue:
    """An execution that runs, or is `queued`, and is late by its worker's clock. Times in microseconds since 1970, UTC.

    `started_us` is when the broker took its first RUNNING event (of one that is queued, its first PENDING), which may
    be later than the worker says; `number` how often it was observed so far (`steptrail.schemas.observation`).
    """

    pipeline: str
    step_name: str
    doc_id: str
    execution_id: UUID
    started_us: int
    number: int
    queued: bool = False


@dataclass(frozen=True, slots=True)
class ObservedRecord:
    """What was observed of one execution of a document's step."""

    pipeline: str
    doc_id: str
    step_name: str
    execution_id: UUID
    what: Observed
    number: int
    """Which observation of its execution, from 1."""
    observation_id: UUID
    status: ProcessingStatus
    """Of the execution: of one in `StallStore.said` as it is now, else as it was when this was decided."""
    started_us: int
    deadline_s: float | None
    watermark: datetime
    """The time for which it was said: by the broker's clock everything was known until then. Aware, UTC."""
    decided_by: str
    sentence: str
    evidence: dict[str, Any]
    stands: bool
    """It is STALLED, and holds now: nothing took it back, and the execution is still open and current, or waits."""
    queued: bool = False
    """It is about an execution that was PENDING, and that nobody had begun, when this was decided."""

    @property
    def started_at(self) -> datetime:
        """When the broker took the execution's first RUNNING event, or PENDING if it is `queued`; aware, UTC."""
        return datetime_from_us(self.started_us)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> ObservedRecord:
        """From a row of `sql/stall_columns.sql` or `sql/document_observations.sql`."""
        return cls(
            pipeline=row["pipeline"],
            doc_id=row["doc_id"],
            step_name=row["step_name"],
            execution_id=row["execution_id"],
            what=Observed(row.get("what", "STALLED")),
            number=int(row["number"]),
            observation_id=row["observation_id"],
            status=ProcessingStatus(row["status"]),
            started_us=int(row["started_us"]),
            deadline_s=row["deadline_s"],
            watermark=datetime_from_us(int(row["watermark_us"])),
            decided_by=row["decided_by"],
            sentence=row["sentence"],
            evidence=json.loads(row["evidence"]),
            stands=bool(row["stands"]),
            queued=bool(row["queued"]),
        )

    def to_step(self) -> ObservedStep:
        """As the programming interface's model."""
        return ObservedStep(**self._fields())

    def to_recent_error(self) -> ObservedError:
        """Like `to_step`, saying its document too."""
        return ObservedError(doc_id=self.doc_id, **self._fields())

    def _fields(self) -> dict[str, Any]:
        return {
            "step_name": self.step_name,
            "status": self.status,
            "details": self.evidence,
            "metadata": {
                "metrics": {},
                "error_message": self.sentence,
                "execution_id": str(self.execution_id),
                "observation_id": str(self.observation_id),
                "started_at": self.started_at.isoformat(),
                "deadline_s": self.deadline_s,
                "decided_by": self.decided_by,
            },
            "timestamp": self.watermark,
            "observed": self.what.value,
            "stands": self.stands,
        }


def document_observations(
    store: Store, pipeline: str | None, doc_id: str, limit: int
) -> list[ObservedRecord]:
    """Up to `limit` observations of one document's executions, the earliest first."""
    document = {**scope(pipeline, store), "doc_id": stored(doc_id, store)}
    # Most documents were never observed, and which observation stands is found by folding the whole document.
    if not ask(store, "is_observed", document):
        return []
    rows = ask(store, "document_observations", {**document, "fetch": limit})
    return [ObservedRecord.from_row(row) for row in rows]


def recent_stalls(store: Store, pipeline: str | None, since_us: int, limit: int) -> list[ObservedRecord]:
    """Up to `limit` executions that are stalled now and were found so since then, the latest first."""
    parameters = {**scope(pipeline), "start_us": since_us, "fetch": limit}
    return [ObservedRecord.from_row(row) for row in ask(store, "recent_stalls", parameters)]


class StallStore:
    """What who decides about stalls has to ask. Raises what `ask` does (`steptrail.projections.clickhouse.queries`)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def projected(self, projection: str, topic: str, topic_id: str) -> dict[int, int]:
        """The last offset of each partition that is in every table of a projection; absent: none."""
        parameters = {"projection": projection, "topic": topic, "topic_id": topic_id, "at_least": 0}
        rows = ask(self._store, "projected_offsets", parameters)
        return {int(row["partition"]): int(row["reached"]) for row in rows}

    def said(self) -> list[ObservedRecord]:
        """Every execution whose last observation is STALLED, in the order of ids; `stands` says what is so still."""
        return [ObservedRecord.from_row(row) for row in ask(self._store, "stall_state", scope(None))]

    def overdue(self, begun_before_us: Mapping[tuple[str, str], int]) -> Iterator[list[Overdue]]:
        """Executions that run, are their step's current ones, are not said to be stalled, and that, by their
        workers' clocks, began no later than the bound of their (pipeline, step). In lists, as they are found.
        """
        return self._overdue("overdue_executions", begun_before_us, {})

    def overdue_queued(
        self, queued_before_us: Mapping[tuple[str, str], int], since_us: int
    ) -> Iterator[list[Overdue]]:
        """Likewise executions that are PENDING, that nothing of their step followed, and that were queued since."""
        return self._overdue("overdue_queued", queued_before_us, {"since_us": since_us})

    def _overdue(
        self, name: str, before_us: Mapping[tuple[str, str], int], more: Mapping[str, Any]
    ) -> Iterator[list[Overdue]]:
        queued = name == "overdue_queued"
        bounds = sorted(before_us.items(), key=lambda item: (-item[1], item[0]))
        for chunk in chunks(bounds, lambda item: len(item[0][0]) + len(item[0][1]) + 24):
            parameters: dict[str, Any] = {
                "pipelines": [pipeline for (pipeline, _), _ in chunk],
                "steps": [step for (_, step), _ in chunk],
                "before_us": [before for _, before in chunk],
                "fetch": _PAGE,
                **more,
            }
            after_us, after_id = BEFORE_ALL, UUID(int=0)
            while True:
                position = {"after_us": after_us, "after_id": str(after_id)}
                rows = ask(self._store, name, parameters | position)
                if rows:
                    yield from self._started(rows, queued)
                    after_us, after_id = int(rows[-1]["first_run_us"]), rows[-1]["execution_id"]
                if len(rows) < _PAGE:
                    break

    def _started(self, rows: Sequence[Mapping[str, Any]], queued: bool) -> Iterator[list[Overdue]]:
        for chunk in chunks(rows, lambda row: len(row["pipeline"]) + len(row["doc_id"]) + 48):
            parameters = {
                "pipelines": [row["pipeline"] for row in chunk],
                "docs": [row["doc_id"] for row in chunk],
                "executions": [str(row["execution_id"]) for row in chunk],
                "status": "PENDING" if queued else "RUNNING",
            }
            found = {row["execution_id"]: row for row in ask(self._store, "executions_started", parameters)}
            yield [
                Overdue(
                    row["pipeline"],
                    row["step_name"],
                    row["doc_id"],
                    row["execution_id"],
                    int(found[row["execution_id"]]["started_ms"]) * 1000,
                    int(found[row["execution_id"]]["number"]),
                    queued,
                )
                for row in chunk
                if row["execution_id"] in found
            ]
