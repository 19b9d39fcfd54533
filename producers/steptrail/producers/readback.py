"""An event as the programming interface gives it back: where each of its fields stands in a ProcessingStep."""

from __future__ import annotations

import json
import uuid
from typing import Any

from steptrail.schemas.event import StepEvent
from steptrail.schemas.step import ProcessingStep, RecentError


def step_of(event: StepEvent) -> ProcessingStep:
    """The step that an event recorded."""
    return ProcessingStep(
        step_name=event.step_name,
        status=event.status,
        details=json.loads(event.details),
        metadata=metadata_of(event),
        timestamp=event.happened_at,
    )


def recent_error_of(event: StepEvent) -> RecentError:
    """The step that an event recorded, with its document."""
    return RecentError(
        doc_id=event.doc_id,
        step_name=event.step_name,
        status=event.status,
        details=json.loads(event.details),
        metadata=metadata_of(event),
        timestamp=event.happened_at,
    )


def metadata_of(event: StepEvent) -> dict[str, Any]:
    """A step's context: `metrics` (with `duration_ms`, if known), `error_message` (or None), `attempt`,
    `execution_id` and `event_id` as UUID texts, `worker`, and, where there is one, `error_type`, `trace_id`.
    """
    metrics = json.loads(event.metrics)
    if event.duration_ms is not None:
        metrics.setdefault("duration_ms", event.duration_ms)
    metadata: dict[str, Any] = {
        "metrics": metrics,
        "error_message": event.error_message,
        "attempt": event.attempt,
        "execution_id": str(uuid.UUID(bytes=event.execution_id)),
        "event_id": str(uuid.UUID(bytes=event.event_id)),
        "worker": event.worker,
    }
    if event.error_type is not None:
        metadata["error_type"] = event.error_type
    if event.trace_id is not None:
        metadata["trace_id"] = event.trace_id
    return metadata
