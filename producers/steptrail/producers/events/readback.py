"""Converts events to the public API's types: where each field goes in a ProcessingStep."""

from __future__ import annotations

import json
import uuid
from typing import Any

from steptrail.schemas.event import StepEvent, datetime_from_us
from steptrail.schemas.observation import StepObservation
from steptrail.schemas.step import ObservedError, ObservedStep, ProcessingStep, RecentError


def step_of(event: StepEvent) -> ProcessingStep:
    """The event as a ProcessingStep."""
    return ProcessingStep(
        step_name=event.step_name,
        status=event.status,
        details=json.loads(event.details),
        metadata=metadata_of(event),
        timestamp=event.happened_at,
    )


def recent_error_of(event: StepEvent) -> RecentError:
    """The event as a RecentError: the step with its document."""
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


def observed_step_of(observation: StepObservation, *, stands: bool) -> ObservedStep:
    """A consumer's observation of a run, to stand among the events of its document."""
    return ObservedStep(**_observed_fields(observation), stands=stands)


def observed_error_of(observation: StepObservation) -> ObservedError:
    """A run that is currently stalled, with its document."""
    return ObservedError(doc_id=observation.doc_id, **_observed_fields(observation), stands=True)


def _observed_fields(observation: StepObservation) -> dict[str, Any]:
    return {
        "step_name": observation.step_name,
        "status": observation.status,
        "details": json.loads(observation.evidence),
        "metadata": {
            "metrics": {},
            "error_message": observation.sentence,
            "execution_id": str(uuid.UUID(bytes=observation.execution_id)),
            "observation_id": str(uuid.UUID(bytes=observation.observation_id)),
            "started_at": datetime_from_us(observation.started_at).isoformat(),
            "deadline_s": observation.deadline_s,
            "decided_by": observation.decided_by,
        },
        "timestamp": datetime_from_us(observation.watermark),
        "observed": observation.what.value,
    }
