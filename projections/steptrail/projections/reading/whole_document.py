"""One document by a single statement: all its events, and the states of its steps folded from them here.

The view `step_state` folds the same in the store; to plan that takes several times as long as to read a document.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from steptrail.projections.clickhouse.queries import Store, ask, scope, stored
from steptrail.projections.reading.records import StepRecord
from steptrail.projections.reading.states import StepState
from steptrail.schemas.event import StepEvent, datetime_from_us
from steptrail.schemas.fold import NO_DEPENDENCIES, CurrentStep, Fold
from steptrail.schemas.status import ProcessingStatus

_NO_EMITTER = bytes(8)


@dataclass(frozen=True, slots=True)
class WholeDocument:
    """All events of a document, oldest first and each once, and its steps as `Reader.document_state` gives them.

    `stalled_since` of a step is not looked up: it is None.
    """

    events: tuple[StepRecord, ...]
    states: tuple[StepState, ...]


def whole_document(store: Store, pipeline: str, doc_id: str, most: int) -> WholeDocument | None:
    """The document, without events where it is unknown; None where it has more than `most` rows.

    Raises what `ask` does.
    """
    parameters = {
        "pipeline": scope(pipeline, store)["pipeline"],
        "doc_id": stored(doc_id, store),
        "fetch": most + 1,
    }
    rows = ask(store, "whole_document", parameters)
    if len(rows) > most:
        return None
    events: dict[str, StepRecord] = {}
    for (
        row
    ) in rows:  # of an event that was sent twice the later copy counts in the fold, and is the same otherwise
        record = StepRecord.from_row(row)
        events.setdefault(str(record.cursor), record)
    return WholeDocument(tuple(events.values()), tuple(_states(rows)))


def _states(rows: Iterable[Mapping[str, Any]]) -> list[StepState]:
    fold = Fold()
    for row in rows:
        event = _event(row)
        fold.add(event, event.timestamp)
    states = [_state(step) for step in fold.steps().values()]
    return sorted(states, key=lambda state: (state.started_at or state.updated_at, state.step_name))


def _event(row: Mapping[str, Any]) -> StepEvent:
    return replace(
        bare_event(row),
        duration_ms=row["duration_ms"],
        error_type=row["error_type"],
        error_message=row["error_message"],
        details=row["details"],
        metrics=row["metrics"],
        depends_on=row["depends_on"],
        trace_id=row["trace_id"],
        worker=row["worker"],
    )


def bare_event(row: Mapping[str, Any]) -> StepEvent:
    """What tells a status in the fold, at the time that decides: which emitter sent it has been weighed already."""
    return StepEvent(
        event_id=row["event_id"].bytes,
        pipeline=row["pipeline"],
        doc_id=row["doc_id"],
        step_name=row["step_name"],
        execution_id=row["execution_id"].bytes,
        attempt=row["attempt"],
        status=ProcessingStatus(row["status"]),
        timestamp=int(row["event_us"]),
        duration_ms=None,
        error_type=None,
        error_message=None,
        details="{}",
        metrics="{}",
        depends_on=NO_DEPENDENCIES,
        trace_id=None,
        worker="",
        emitter_id=_NO_EMITTER,
        sequence=0,
    )


def _state(step: CurrentStep) -> StepState:
    current = step.current
    decides = current.winner
    return StepState(
        pipeline=current.pipeline,
        doc_id=current.doc_id,
        step_name=current.step_name,
        status=decides.status,
        attempt=current.attempt,
        execution_id=UUID(bytes=current.execution_id),
        queued_at=None if current.queued_at is None else datetime_from_us(current.queued_at),
        started_at=None if current.started_at is None else datetime_from_us(current.started_at),
        updated_at=datetime_from_us(current.winner_time),
        duration_ms=decides.duration_ms,
        error_type=decides.error_type,
        error_message=decides.error_message,
        details=json.loads(decides.details),
        metrics=json.loads(decides.metrics),
        depends_on=json.loads(current.depends_on),
        executions=step.executions,
        events=step.events,
    )
