"""A stored event, as the reader gives it back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from steptrail.projections.clickhouse.pages import Cursor
from steptrail.schemas.event import datetime_from_us
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.step import ProcessingStep, RecentError


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One event of one step of one document, as it stands in `steps`."""

    pipeline: str
    doc_id: str
    step_name: str
    status: ProcessingStatus
    timestamp: datetime
    """When it happened, by the worker's clock; aware, UTC, to the microsecond."""
    broker_time: datetime
    """When the broker appended it; aware, UTC, to the millisecond."""
    event_id: UUID
    execution_id: UUID
    attempt: int
    duration_ms: float | None
    error_type: str | None
    error_message: str | None
    details: dict[str, Any]
    metrics: dict[str, Any]
    depends_on: list[str]
    trace_id: str | None
    worker: str
    cursor: Cursor
    """The position of this event, for pages after or before it."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> StepRecord:
        """From a row of the columns in `sql/event_columns.sql`."""
        micros = int(row["timestamp_us"])
        event_id = row["event_id"]
        return cls(
            pipeline=row["pipeline"],
            doc_id=row["doc_id"],
            step_name=row["step_name"],
            status=ProcessingStatus(row["status"]),
            timestamp=datetime_from_us(micros),
            broker_time=datetime_from_us(int(row["broker_ms"]) * 1000),
            event_id=event_id,
            execution_id=row["execution_id"],
            attempt=row["attempt"],
            duration_ms=row["duration_ms"],
            error_type=row["error_type"],
            error_message=row["error_message"],
            details=json.loads(row["details"]),
            metrics=json.loads(row["metrics"]),
            depends_on=json.loads(row["depends_on"]),
            trace_id=row["trace_id"],
            worker=row["worker"],
            cursor=Cursor(micros, event_id),
        )

    def to_step(self) -> ProcessingStep:
        """As the programming interface's model; what has no field of its own there is in its metadata."""
        return ProcessingStep(
            step_name=self.step_name,
            status=self.status,
            details=self.details,
            metadata=self._metadata(),
            timestamp=self.timestamp,
        )

    def to_recent_error(self) -> RecentError:
        """Like `to_step`, saying its document too."""
        return RecentError(
            doc_id=self.doc_id,
            step_name=self.step_name,
            status=self.status,
            details=self.details,
            metadata=self._metadata(),
            timestamp=self.timestamp,
        )

    def _metadata(self) -> dict[str, Any]:
        metrics = dict(self.metrics)
        if self.duration_ms is not None:
            metrics.setdefault("duration_ms", self.duration_ms)
        metadata: dict[str, Any] = {
            "metrics": metrics,
            "error_message": self.error_message,
            "attempt": self.attempt,
            "execution_id": str(self.execution_id),
            "event_id": str(self.event_id),
            "worker": self.worker,
        }
        if self.error_type is not None:
            metadata["error_type"] = self.error_type
        if self.trace_id is not None:
            metadata["trace_id"] = self.trace_id
        return metadata
