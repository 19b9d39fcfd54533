"""Whatever is recorded, in whatever order: recording does not raise, and the rules of executions hold."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steptrail.producers import InMemoryStorage, ProcessingStepManager, StepEmitter
from steptrail.producers.events.executions import OpenExecutions
from steptrail.schemas import ProcessingStatus, uuid7
from support.effort import effort


class Faulty:
    """A value whose every method raises."""

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    __hash__ = object.__hash__


texts = st.text(st.characters(exclude_categories=()), max_size=40)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    texts,
    st.binary(max_size=20),
    st.datetimes(),
    st.decimals(),
    st.complex_numbers(),
    st.just(object()),
    st.builds(Faulty),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner),
        st.sets(st.integers(), max_size=3),
        st.dictionaries(
            st.one_of(texts, st.integers(), st.none(), st.tuples(st.integers())), inner, max_size=4
        ),
    ),
    max_leaves=12,
)
objects = st.dictionaries(
    st.one_of(
        texts,
        st.sampled_from(["retry_count", "depends_on", "duration_ms", "_steptrail", "thresholds_passed"]),
    ),
    values,
    max_size=5,
)
FIRST, LAST = datetime(1900, 1, 1), datetime(2262, 4, 11)  # noqa: DTZ001 - hypothesis wants bounds without zones
moments = st.datetimes(FIRST, LAST, timezones=st.just(timezone.utc))


@pytest.mark.thorough
@settings(derandomize=True, deadline=None, max_examples=effort(120, 300))
@given(
    doc_id=texts,
    step_name=texts,
    status=st.sampled_from(ProcessingStatus),
    details=st.none() | objects,
    metrics=st.none() | objects,
    error_message=st.none() | texts,
    timestamp=st.none() | moments,
)
def test_no_value_raises(
    doc_id: str,
    step_name: str,
    status: ProcessingStatus,
    details: dict[str, Any] | None,
    metrics: dict[str, Any] | None,
    error_message: str | None,
    timestamp: datetime | None,
) -> None:
    """Any value of the right type is recorded, as valid JSON and clean text, and found by its document."""
    storage = InMemoryStorage()
    manager = ProcessingStepManager(storage)
    manager.add_step(doc_id, step_name, status, details, metrics, error_message, timestamp)
    (event,) = storage.events()  # decoded strictly: whole, canonical, valid
    assert isinstance(json.loads(event.details), dict)
    assert isinstance(json.loads(event.metrics), dict)
    assert all(isinstance(name, str) for name in json.loads(event.depends_on))
    assert event.duration_ms is None or math.isfinite(event.duration_ms)
    assert event.attempt >= 1
    assert len(manager.get_steps(doc_id)) == 1


@pytest.mark.thorough
def test_no_value_raises_through_the_emitter() -> None:
    """The same values through the real emitter: every one is accepted, none is dropped."""
    emitter = StepEmitter(kafka="127.0.0.1:1", queue_max_messages=100_000)
    recorded = 0

    @settings(derandomize=True, deadline=None, max_examples=effort(80, 200))
    @given(details=objects, metrics=objects, error_message=texts)
    def record(details: dict[str, Any], metrics: dict[str, Any], error_message: str) -> None:
        nonlocal recorded
        recorded += 1
        emitter.emit(
            doc_id="d",
            step_name="s",
            status=ProcessingStatus.ERROR,
            details=details,
            metrics=metrics,
            error_message=error_message,
        )

    record()
    accounting = emitter.accounting()
    assert accounting.accepted == accounting.pending == recorded
    emitter.close(0)


@pytest.mark.thorough
@settings(derandomize=True, deadline=None, max_examples=effort(120, 300))
@given(st.lists(st.sampled_from(ProcessingStatus), max_size=30))
def test_executions_follow_the_rules(history: list[ProcessingStatus]) -> None:
    """PENDING and RUNNING open, RUNNING after PENDING joins, an ending closes or stands alone; attempts count."""
    executions = OpenExecutions()
    open_state: ProcessingStatus | None = None
    current = b""
    runs = 0
    for status in history:
        fresh = uuid7()
        execution_id, attempt, duration_ms = executions.assign("d", "s", status, fresh)
        joins = (
            open_state is ProcessingStatus.PENDING
            if status is ProcessingStatus.RUNNING
            else status.is_terminal and open_state is not None
        )
        if joins:
            assert execution_id == current
        else:
            assert execution_id == fresh
            runs += 1
        assert attempt == runs
        assert (duration_ms is not None) == (status.is_terminal and open_state is ProcessingStatus.RUNNING)
        current = execution_id
        open_state = None if status.is_terminal else status
