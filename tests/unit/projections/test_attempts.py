"""A document's executions put together from its events."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import permutations
from typing import Any
from uuid import UUID

from steptrail.projections.clickhouse.pages import Cursor
from steptrail.projections.reading.attempts import attempts
from steptrail.projections.reading.records import StepRecord
from steptrail.schemas.status import ProcessingStatus as S

T0 = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)


def record(number: int, status: S, execution: int, step: str = "ocr", **more: Any) -> StepRecord:
    at = T0 + timedelta(seconds=number)
    values: dict[str, Any] = {
        "pipeline": "p", "doc_id": "d", "step_name": step, "status": status, "timestamp": at, "broker_time": at,
        "event_id": UUID(int=number), "execution_id": UUID(int=execution), "attempt": 1, "duration_ms": None,
        "error_type": None, "error_message": None, "details": {}, "metrics": {}, "depends_on": [], "trace_id": None,
        "worker": "a:1", "cursor": Cursor(number, UUID(int=number)), **more,
    }  # fmt: skip
    return StepRecord(**values)


def test_retries_stand_side_by_side_and_what_differs_is_named() -> None:
    """In the order in which they began, by what the deciding event says."""
    events = [
        record(1, S.PENDING, 1),
        record(2, S.RUNNING, 1),
        record(3, S.ERROR, 1, error_message="no answer", worker="a:1"),
        record(4, S.RUNNING, 2, attempt=2, worker="b:2"),
        record(5, S.SUCCESS, 2, attempt=2, worker="b:2", details={"pages": 3}),
    ]
    for order in permutations(events):
        [found] = attempts(order)
        assert [each.status for each in found.attempts] == [S.ERROR, S.SUCCESS]
        assert found.differs == ("status", "worker", "error_message", "details")
        first = found.attempts[0]
        assert (first.queued_at, first.started_at, first.ended_at) == tuple(
            T0 + timedelta(seconds=n) for n in (1, 2, 3)
        )
        assert (first.events, found.attempts[1].attempt) == (3, 2)


def test_a_late_start_does_not_reopen_an_attempt() -> None:
    """The ending decides, as in the fold."""
    [found] = attempts([record(9, S.RUNNING, 1), record(3, S.FAILED, 1)])
    assert found.attempts[0].status is S.FAILED
    assert found.differs == ()


def test_steps_come_in_the_order_in_which_they_began() -> None:
    """Whatever their names."""
    found = attempts([record(5, S.SUCCESS, 2, "a"), record(1, S.SUCCESS, 1, "z")])
    assert [each.step_name for each in found] == ["z", "a"]
