"""What every Storage promises of what consumers observed."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

from steptrail.producers import ProcessingStepManager, Storage
from steptrail.schemas import ObservedError, ObservedStep
from support.contract_fixtures import (
    PENDING,
    RUNNING,
    SUCCESS,
    ContractFixtures,
    Observe,
    names,
    noon,
    observation,
    settle,
)


class ObservationContract(ContractFixtures):
    def test_observations_are_for_those_who_ask(
        self, manager: ProcessingStepManager, storage: Storage, observe: Observe, doc: str
    ) -> None:
        """A stall is an ObservedStep among a document's events, at the time for which it was found, when asked for."""
        handle = manager.add_step(doc, "ocr", RUNNING, timestamp=noon())
        found = observation(storage.pipeline, handle, 1, noon(700))
        observe(found)
        settle(storage)
        assert names(manager.get_steps(doc)) == ["ocr"]
        event, observed = manager.get_steps(doc, include_observed=True)
        assert not isinstance(event, ObservedStep)
        assert isinstance(observed, ObservedStep)
        assert (observed.observed, observed.stands, observed.status) == ("STALLED", True, RUNNING)
        assert observed.timestamp == noon(700)
        assert observed.details == {"waited_s": 700}
        assert observed.metadata == {
            "metrics": {},
            "error_message": "started 700 s ago and has not ended; deadline 600 s",
            "execution_id": str(uuid.UUID(bytes=handle.execution_id)),
            "observation_id": str(uuid.UUID(bytes=found.observation_id)),
            "started_at": "2025-03-01T12:00:00+00:00",
            "deadline_s": 600.0,
            "decided_by": "steptrail-health/test:1",
        }
        assert ObservedStep.from_dict(observed.to_dict()) == observed

    def test_observations_are_filtered_as_events_are(
        self, manager: ProcessingStepManager, storage: Storage, observe: Observe, doc: str
    ) -> None:
        """By the status of the execution and by time; each stands at its place in time."""
        handle = manager.add_step(doc, "ocr", RUNNING, timestamp=noon())
        manager.add_step(doc, "other", SUCCESS, timestamp=noon(800))
        observe(observation(storage.pipeline, handle, 1, noon(700)))
        manager.add_step(doc, "ocr", SUCCESS, timestamp=noon(900), execution=handle)
        observe(observation(storage.pipeline, handle, 2, noon(1000)))
        settle(storage)

        def shown(*filters: Any) -> list[str]:
            found = manager.get_steps(doc, *filters, include_observed=True)
            return [step.observed if isinstance(step, ObservedStep) else step.step_name for step in found]

        assert shown() == ["ocr", "STALLED", "other", "ocr", "RETRACTED"]
        assert shown(RUNNING) == ["ocr", "STALLED"]
        assert shown(SUCCESS) == ["other", "ocr", "RETRACTED"]
        assert shown(None, noon(700), noon(1000)) == ["STALLED", "other", "ocr"]
        assert shown(None, noon(701)) == ["other", "ocr", "RETRACTED"]

    def test_an_ending_or_a_later_run_ends_a_stall_at_once(
        self, manager: ProcessingStepManager, storage: Storage, observe: Observe, doc: str
    ) -> None:
        """Before anybody retracts it, a stall stands no longer, and is no recent error any more."""
        since = datetime.now(timezone.utc)
        handles = {step: manager.add_step(doc, step, RUNNING) for step in ("ends", "again", "hangs")}
        for handle in handles.values():
            observe(observation(storage.pipeline, handle, 1, since + timedelta(hours=1)))
        settle(storage)

        def stalled() -> set[str]:
            errors = manager.get_recent_errors(since, include_observed=True)
            mine = [error for error in errors if error.doc_id == doc]
            assert all(isinstance(error, ObservedError) and error.stands for error in mine)
            return {error.step_name for error in mine}

        assert stalled() == {"ends", "again", "hangs"}
        assert [error for error in manager.get_recent_errors(since) if error.doc_id == doc] == []
        manager.add_step(doc, "ends", SUCCESS)
        manager.add_step(doc, "again", RUNNING)
        settle(storage)
        assert stalled() == {"hangs"}
        steps = manager.get_steps(doc, include_observed=True)
        assert {step.step_name for step in steps if isinstance(step, ObservedStep) and step.stands} == {
            "hangs"
        }

    def test_what_was_queued_for_too_long_stands_until_it_is_begun(
        self, manager: ProcessingStepManager, storage: Storage, observe: Observe, doc: str
    ) -> None:
        """STALLED with the status PENDING: queueing again changes nothing, a RUNNING ends it at once."""
        handles = {step: manager.add_step(doc, step, PENDING) for step in ("begun", "again", "waits")}
        for handle in handles.values():
            observe(observation(storage.pipeline, handle, 1, noon(700), PENDING))
        manager.add_step(doc, "begun", RUNNING)
        manager.add_step(doc, "again", PENDING)
        settle(storage)
        found = [s for s in manager.get_steps(doc, include_observed=True) if isinstance(s, ObservedStep)]
        assert {step.step_name for step in found if step.stands} == {"again", "waits"}
        assert {step.status for step in found} == {PENDING}

    def test_what_was_observed_twice_is_there_once(
        self, manager: ProcessingStepManager, storage: Storage, observe: Observe, doc: str
    ) -> None:
        """The same observation, sent again, changes nothing; the first counts."""
        handle = manager.add_step(doc, "ocr", RUNNING)
        for late in (0, 60):
            observe(observation(storage.pipeline, handle, 1, noon(700 + late)))
        settle(storage)
        observed = [s for s in manager.get_steps(doc, include_observed=True) if isinstance(s, ObservedStep)]
        assert [(each.timestamp, each.stands) for each in observed] == [(noon(700), True)]
