"""The state of a document's steps, as the view `step_state` folds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from steptrail.schemas.event import datetime_from_us
from steptrail.schemas.status import ProcessingStatus


@dataclass(frozen=True, slots=True)
class StepState:
    """What one step of one document is in now: its current execution, decided as `steptrail.schemas.fold` says."""

    pipeline: str
    doc_id: str
    step_name: str
    status: ProcessingStatus
    attempt: int
    execution_id: UUID
    queued_at: datetime | None
    """When it was queued, whichever process did that; None when no PENDING event is known. Aware, UTC."""
    started_at: datetime | None
    """When the current execution first ran; None when no RUNNING event is known. Aware, UTC."""
    updated_at: datetime
    """The time of the event that decided the status. Aware, UTC."""
    duration_ms: float | None
    error_type: str | None
    error_message: str | None
    details: dict[str, Any]
    metrics: dict[str, Any]
    depends_on: list[str]
    executions: int
    """How many times the step was begun, this one included; what only was queued for one of these is none."""
    events: int
    """Distinct events of the step, over all its executions."""
    stalled_since: datetime | None = None
    """Since when the current execution is known to be stalled (see `reading.stalls`); None: it is not."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> StepState:
        """From a row of `sql/document_state.sql`."""
        queued, started, stalled = row["queued_us"], row["started_us"], row["stalled_us"]
        return cls(
            pipeline=row["pipeline"],
            doc_id=row["doc_id"],
            step_name=row["step_name"],
            status=ProcessingStatus(row["status"]),
            attempt=row["attempt"],
            execution_id=row["execution_id"],
            queued_at=None if queued is None else datetime_from_us(queued),
            started_at=None if started is None else datetime_from_us(started),
            updated_at=datetime_from_us(row["updated_us"]),
            duration_ms=row["duration_ms"],
            error_type=row["error_type"],
            error_message=row["error_message"],
            details=json.loads(row["details"]),
            metrics=json.loads(row["metrics"]),
            depends_on=json.loads(row["depends_on"]),
            executions=row["executions"],
            events=row["events"],
            stalled_since=None if stalled is None else datetime_from_us(stalled),
        )
