"""What every Storage promises: run on the in-memory twin in unit tests, on the real one in integration.

A test module makes a subclass with a fixture `storage`:

    class TestInMemoryStorage(StorageContract):
        @pytest.fixture
        def storage(self):
            return InMemoryStorage()

        @pytest.fixture
        def observe(self, storage):
            return storage.observe

A storage may be shared by all tests of the class: each uses documents of its own.
"""

from __future__ import annotations

import threading
import uuid
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from steptrail.producers import ProcessingStepManager, StepHandle, Storage
from steptrail.schemas import ProcessingStatus
from support.contract_fixtures import (
    ERROR,
    FAILED,
    PENDING,
    RUNNING,
    SKIPPED,
    SUCCESS,
    WARNING,
    names,
    noon,
    settle,
)
from support.observation_contract import ObservationContract
from support.value_contract import ValueContract


class StorageContract(ObservationContract, ValueContract):
    # --- one event, read back -----------------------------------------------------------------------

    def test_gives_back_what_was_recorded(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """Name, status, details, metrics, message and time come back as they were."""
        details = {"pages": 3, "nested": {"list": [1, 2.5, None, True, "ü"]}, "empty": {}}
        manager.add_step(
            doc, "ocr", SUCCESS, details, {"duration_ms": 12.5, "memory_mb": 80}, "a note", timestamp=noon()
        )
        settle(storage)
        (step,) = manager.get_steps(doc)
        assert step.step_name == "ocr"
        assert step.status is SUCCESS
        assert step.details == details
        assert step.metadata["metrics"] == {"duration_ms": 12.5, "memory_mb": 80}
        assert step.error_message == "a note"
        assert step.duration_ms == 12.5
        assert step.timestamp == noon()

    def test_lays_out_metadata_by_convention(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """Metadata say metrics, message, attempt, ids and worker, and leave out what there is not."""
        handle = manager.add_step(doc, "ocr", RUNNING)
        settle(storage)
        (step,) = manager.get_steps(doc)
        assert step.metadata["metrics"] == {}
        assert step.metadata["error_message"] is None
        assert step.metadata["attempt"] == 1
        assert uuid.UUID(step.metadata["execution_id"]).bytes == handle.execution_id
        assert uuid.UUID(step.metadata["event_id"]).version == 7
        assert ":" in step.metadata["worker"]
        assert "error_type" not in step.metadata
        assert "trace_id" not in step.metadata

    def test_time_is_now_by_default(self, manager: ProcessingStepManager, storage: Storage, doc: str) -> None:
        """Without a timestamp an event has the time of its recording, aware, in UTC."""
        before = datetime.now(timezone.utc)
        manager.add_step(doc, "ocr", RUNNING)
        after = datetime.now(timezone.utc)
        settle(storage)
        (step,) = manager.get_steps(doc)
        assert before - timedelta(microseconds=1) <= step.timestamp <= after
        assert step.timestamp.utcoffset() == timedelta(0)

    def test_time_zones_are_the_same_moment(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """A timestamp of another zone is stored as its moment in UTC."""
        manager.add_step(
            doc, "ocr", SUCCESS, timestamp=noon().astimezone(timezone(timedelta(hours=5, minutes=30)))
        )
        settle(storage)
        assert manager.get_steps(doc)[0].timestamp == noon()

    def test_takes_the_name_of_a_status(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """A status may be given as its name."""
        manager.add_step(doc, "ocr", "SKIPPED")
        settle(storage)
        assert manager.get_steps(doc, status="SKIPPED")[0].status is SKIPPED

    # --- reading a document ---------------------------------------------------------------------------

    def test_unknown_document_is_empty(self, manager: ProcessingStepManager, doc: str) -> None:
        """A document without events gives an empty list."""
        assert manager.get_steps(doc) == []

    def test_orders_by_timestamp(self, manager: ProcessingStepManager, storage: Storage, doc: str) -> None:
        """Events stand in the order of their timestamps, not of their recording."""
        for offset in (30, 10, -86_400, 20, 86_400 * 365):
            manager.add_step(doc, f"at {offset}", SUCCESS, timestamp=noon(offset))
        settle(storage)
        assert names(manager.get_steps(doc)) == ["at -86400", "at 10", "at 20", "at 30", "at 31536000"]

    def test_keeps_the_order_of_recording_at_equal_times(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """Where timestamps are equal, what was recorded first comes first."""
        for number in range(20):
            manager.add_step(doc, f"step {number}", SUCCESS, timestamp=noon())
        settle(storage)
        assert names(manager.get_steps(doc)) == [f"step {number}" for number in range(20)]

    def test_start_is_inclusive_and_end_exclusive(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """start_time <= time < end_time, to the microsecond."""
        for name, offset in (("before", -1e-6), ("start", 0), ("last", 10 - 1e-6), ("end", 10)):
            manager.add_step(doc, name, SUCCESS, timestamp=noon(offset))
        settle(storage)
        assert names(manager.get_steps(doc, start_time=noon(), end_time=noon(10))) == ["start", "last"]
        assert names(manager.get_steps(doc, start_time=noon())) == ["start", "last", "end"]
        assert names(manager.get_steps(doc, end_time=noon())) == ["before"]

    def test_filters_by_one_status_or_many(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """`status` is one member or name, or any collection of them."""
        for offset, status in enumerate(ProcessingStatus):
            manager.add_step(doc, f"is {status.value}", status, timestamp=noon(offset))
        settle(storage)
        assert names(manager.get_steps(doc, ERROR)) == ["is ERROR"]
        assert names(manager.get_steps(doc, status=[FAILED, "SUCCESS"])) == ["is SUCCESS", "is FAILED"]
        assert names(manager.get_steps(doc, {PENDING, RUNNING}, noon(1))) == ["is RUNNING"]
        assert manager.get_steps(doc, status=[]) == []
        assert len(manager.get_steps(doc, status=None)) == 7

    def test_documents_do_not_mix(self, manager: ProcessingStepManager, storage: Storage, doc: str) -> None:
        """A document's events are found by its exact id."""
        other = doc + "x"
        manager.add_step(doc, "mine", SUCCESS)
        manager.add_step(other, "theirs", SUCCESS)
        manager.add_step(doc.upper(), "upper", SUCCESS)
        settle(storage)
        assert names(manager.get_steps(doc)) == ["mine"]
        assert names(manager.get_steps(other)) == ["theirs"]

    # --- recent errors --------------------------------------------------------------------------------

    def test_recent_errors_come_newest_first_with_their_document(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """ERROR and FAILED of all documents at or after `since`, newest first, each with its doc_id."""
        since = datetime.now(timezone.utc)
        other = doc + " other"
        manager.add_step(doc, "old", ERROR, timestamp=since - timedelta(microseconds=1))
        manager.add_step(doc, "first", ERROR, error_message="one", timestamp=since)
        manager.add_step(other, "second", FAILED, {"n": 2}, timestamp=since + timedelta(seconds=1))
        manager.add_step(doc, "third", ERROR, timestamp=since + timedelta(seconds=2))
        for status in (PENDING, RUNNING, SUCCESS, WARNING, SKIPPED):
            manager.add_step(doc, "fine", status, timestamp=since + timedelta(seconds=3))
        settle(storage)
        found = [error for error in manager.get_recent_errors(since) if error.doc_id in (doc, other)]
        assert [(error.doc_id, error.step_name) for error in found] == [
            (doc, "third"),
            (other, "second"),
            (doc, "first"),
        ]
        assert found[2].error_message == "one"
        assert found[1].details == {"n": 2}
        assert found[0].is_error_state()

    def test_recent_errors_include_warnings_when_asked(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """WARNING is there only with include_warnings."""
        since = datetime.now(timezone.utc)
        manager.add_step(doc, "warned", WARNING)
        manager.add_step(doc, "failed", ERROR)
        settle(storage)
        without = [error for error in manager.get_recent_errors(since) if error.doc_id == doc]
        with_them = [
            error for error in manager.get_recent_errors(since, include_warnings=True) if error.doc_id == doc
        ]
        assert names([*without]) == ["failed"]
        assert names([*with_them]) == ["failed", "warned"]

    def test_recent_errors_can_be_limited(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """`limit` gives the newest so many."""
        ahead = datetime.now(timezone.utc) + timedelta(days=30)  # beyond other tests' errors
        for number in range(5):
            manager.add_step(doc, f"e{number}", ERROR, timestamp=ahead + timedelta(seconds=number))
        settle(storage)
        assert names([*storage.get_recent_errors(ahead, limit=2)]) == ["e4", "e3"]

    # --- executions -----------------------------------------------------------------------------------

    def test_an_ending_closes_what_is_open(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """PENDING, RUNNING and SUCCESS are one execution, whose duration is measured from RUNNING."""
        handles = [manager.add_step(doc, "ocr", status) for status in (PENDING, RUNNING, SUCCESS)]
        settle(storage)
        steps = manager.get_steps(doc)
        assert len({handle.execution_id for handle in handles}) == 1
        assert [step.metadata["attempt"] for step in steps] == [1, 1, 1]
        assert [step.duration_ms is None for step in steps] == [True, True, False]
        assert steps[2].duration_ms is not None
        assert steps[2].duration_ms >= 0

    def test_a_retry_is_an_execution_of_its_own(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """RUNNING after an ending, or after RUNNING, opens a new execution, the next attempt."""
        for status in (RUNNING, ERROR, RUNNING, RUNNING, SUCCESS):
            manager.add_step(doc, "ocr", status)
        settle(storage)
        steps = manager.get_steps(doc)
        first, failed, second, third, done = (step.metadata["execution_id"] for step in steps)
        assert first == failed
        assert third == done
        assert len({first, second, third}) == 3
        assert [step.metadata["attempt"] for step in steps] == [1, 1, 2, 3, 3]

    def test_progress_stays_one_run(self, manager: ProcessingStepManager, storage: Storage, doc: str) -> None:
        """RUNNING with `progress`, or by the handle, is the same run and attempt; only the ending has a duration."""
        handle = manager.add_step(doc, "ocr", RUNNING)
        manager.add_step(doc, "ocr", RUNNING, details={"page": 1}, progress=True)
        manager.add_step(doc, "ocr", RUNNING, details={"page": 2}, execution=handle)
        manager.add_step(doc, "ocr", SUCCESS)
        with manager.step(doc, "embed") as step:
            step.progress({"page": 1}, {"memory_mb": 80})
        settle(storage)
        steps = manager.get_steps(doc)
        assert len({each.metadata["execution_id"] for each in steps}) == 2
        assert {each.metadata["attempt"] for each in steps} == {1}
        assert [each.duration_ms is None for each in steps] == [True, True, True, False, True, True, False]

    def test_an_ending_may_stand_alone(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """An ending without a start is a complete execution, without a measured duration."""
        first = manager.add_step(doc, "ocr", SUCCESS)
        second = manager.add_step(doc, "ocr", SUCCESS)
        settle(storage)
        assert first.execution_id != second.execution_id
        assert [step.duration_ms for step in manager.get_steps(doc)] == [None, None]

    def test_steps_and_documents_have_their_own_executions(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """What is open is open for one step of one document."""
        opened = [
            manager.add_step(doc, "a", RUNNING),
            manager.add_step(doc, "b", RUNNING),
            manager.add_step(doc + "2", "a", RUNNING),
        ]
        closed = manager.add_step(doc, "a", SUCCESS)
        assert len({handle.execution_id for handle in opened}) == 3
        assert closed.execution_id == opened[0].execution_id

    def test_retry_count_numbers_the_attempt(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """`retry_count` in details is one less than the attempt; what is no number is left alone."""
        for count in (4, "many", -1, None, 2**31, 2.0, 2.5, True, Decimal(2)):
            manager.add_step(doc, f"step {count}", RUNNING, {"retry_count": count})
        settle(storage)
        attempts = {step.step_name: step.metadata["attempt"] for step in manager.get_steps(doc)}
        assert attempts == {
            "step 4": 5,
            "step many": 1,
            "step -1": 1,
            "step None": 1,
            f"step {2**31}": 2**31 - 1,
            "step 2.0": 3,
            "step 2.5": 1,
            "step True": 1,
            "step 2": 3,
        }

    def test_dependencies_stay_in_details(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """`depends_on` in details comes back there."""
        manager.add_step(doc, "merge", RUNNING, {"depends_on": ["split", "ocr"]})
        settle(storage)
        assert manager.get_steps(doc)[0].details == {"depends_on": ["split", "ocr"]}

    def test_a_handle_ends_a_run_of_another_process(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """A handle that went through JSON names the execution and the attempt."""
        manager.add_step(doc, "ocr", ERROR)
        begun = manager.add_step(doc, "ocr", RUNNING)
        passed_on = StepHandle.from_dict(begun.to_dict())
        manager.add_step(doc, "ocr", RUNNING)  # meanwhile, a newer run
        manager.add_step(doc, "ocr", SUCCESS, execution=passed_on)
        settle(storage)
        last = manager.get_steps(doc)[-1]
        assert uuid.UUID(last.metadata["execution_id"]).bytes == begun.execution_id
        assert last.metadata["attempt"] == 2

    def test_durations_follow_given_times(
        self, manager: ProcessingStepManager, storage: Storage, doc: str
    ) -> None:
        """Where the caller tells when a run began and ended, its duration is the time between."""
        manager.add_step(doc, "ocr", RUNNING, timestamp=noon())
        manager.add_step(doc, "ocr", SUCCESS, timestamp=noon(90))
        manager.add_step(doc, "back", RUNNING, timestamp=noon())
        manager.add_step(doc, "back", SUCCESS, timestamp=noon(-1))
        settle(storage)
        durations = {
            step.step_name: step.duration_ms for step in manager.get_steps(doc) if step.status is SUCCESS
        }
        assert durations == {"ocr": 90_000.0, "back": None}

    # --- threads --------------------------------------------------------------------------------------

    def test_threads_lose_nothing(self, manager: ProcessingStepManager, storage: Storage, doc: str) -> None:
        """Eight threads that record at once all find their events."""

        def work(thread: int) -> None:
            for number in range(25):
                manager.add_step(doc, f"step {thread}-{number}", RUNNING)
                manager.add_step(doc, f"step {thread}-{number}", SUCCESS)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        settle(storage)
        steps = manager.get_steps(doc)
        assert len(steps) == 400
        runs = {step.metadata["execution_id"] for step in steps}
        assert len(runs) == 200
        assert len({step.metadata["event_id"] for step in steps}) == 400
