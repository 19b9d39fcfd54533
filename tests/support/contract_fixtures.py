"""What the parts of the storage's contract share: its fixtures, times, and an observation."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from steptrail.producers import ProcessingStepManager, StepHandle, Storage
from steptrail.schemas import ProcessingStatus, ProcessingStep
from steptrail.schemas.event import us_from_datetime
from steptrail.schemas.observation import Observed, StepObservation, observation_id, what_is
from support.waiting import PATIENCE_S

PENDING, RUNNING, SUCCESS = ProcessingStatus.PENDING, ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS
WARNING, ERROR, FAILED = ProcessingStatus.WARNING, ProcessingStatus.ERROR, ProcessingStatus.FAILED
SKIPPED = ProcessingStatus.SKIPPED


Observe = Callable[[StepObservation], None]
"""Says an observation, and waits until the storage can read it."""


def settle(storage: Storage) -> None:
    assert storage.flush(PATIENCE_S) == 0
    assert storage.wait_projected(PATIENCE_S)


def noon(offset_s: float = 0) -> datetime:
    return datetime(2025, 3, 1, 12, tzinfo=timezone.utc) + timedelta(seconds=offset_s)


def names(steps: list[ProcessingStep]) -> list[str]:
    return [step.step_name for step in steps]


def observation(
    pipeline: str, handle: StepHandle, number: int, at: datetime, status: ProcessingStatus = RUNNING
) -> StepObservation:
    """What a consumer would say of a run at a time: STALLED (with its `status`) for odd numbers, else RETRACTED."""
    stalled = what_is(number) is Observed.STALLED
    return StepObservation(
        observation_id=observation_id(handle.execution_id, number),
        what=what_is(number),
        pipeline=pipeline,
        doc_id=handle.doc_id,
        step_name=handle.step_name,
        execution_id=handle.execution_id,
        number=number,
        retracts=None if stalled else observation_id(handle.execution_id, number - 1),
        status=status if stalled else SUCCESS,
        started_at=us_from_datetime(noon()),
        deadline_s=600.0 if stalled else None,
        watermark=us_from_datetime(at),
        decided_by="steptrail-health/test:1",
        sentence="started 700 s ago and has not ended; deadline 600 s" if stalled else "it ended",
        evidence='{"waited_s":700}' if stalled else "{}",
    )


class ContractFixtures:
    """`storage` and `observe` are a subclass's to give."""

    @pytest.fixture
    def storage(self) -> Any:
        raise NotImplementedError("a subclass gives the storage under test")

    @pytest.fixture
    def observe(self, storage: Any) -> Observe:
        raise NotImplementedError("a subclass gives what brings an observation to where the storage reads")

    @pytest.fixture
    def manager(self, storage: Storage) -> ProcessingStepManager:
        return ProcessingStepManager(storage)

    @pytest.fixture
    def doc(self) -> str:
        return f"folder/ä {uuid.uuid4()}.pdf"
