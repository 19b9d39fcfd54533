"""The workflows that people already have, word for word, and what the manager writes to the log."""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import Any

import pytest

from steptrail.producers import InMemoryStorage, LogLevel, ProcessingStepManager
from steptrail.schemas import ProcessingStatus
from support.workflows import basic, parallel, retry


@pytest.fixture
def manager() -> ProcessingStepManager:
    return ProcessingStepManager(InMemoryStorage("invoices"))


def told(manager: ProcessingStepManager, doc_id: str = "d") -> list[tuple[str, str]]:
    return [(step.step_name, step.status.value) for step in manager.get_steps(doc_id)]


def test_basic_workflow(manager: ProcessingStepManager) -> None:
    """RUNNING, the work, then SUCCESS with details and metrics, or ERROR with the exception's text."""
    basic(manager, "good", lambda: {"pages": 3})
    with pytest.raises(OSError, match="disk"):
        basic(manager, "bad", _raising(OSError("disk")))
    assert told(manager, "good") == [("process", "RUNNING"), ("process", "SUCCESS")]
    assert manager.get_steps("good")[-1].details == {"pages": 3}
    assert told(manager, "bad") == [("process", "RUNNING"), ("process", "ERROR")]
    assert manager.get_steps("bad")[-1].error_message == "disk"


def test_retry_workflow_that_recovers(manager: ProcessingStepManager) -> None:
    """Every attempt is its own execution; the last one's state is the step's."""
    outcomes: list[Any] = [OSError("one"), OSError("two"), {"pages": 3}]

    def work() -> dict[str, Any]:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return dict(outcome)

    assert retry(manager, "d", work, max_retries=5) == {"pages": 3}
    steps = manager.get_steps("d")
    assert [step.status.value for step in steps] == ["RUNNING", "ERROR"] * 2 + ["RUNNING", "SUCCESS"]
    assert [step.metadata["attempt"] for step in steps] == [1, 1, 2, 2, 3, 3]
    assert len({step.metadata["execution_id"] for step in steps}) == 3
    assert steps[1].error_message == "Retry 0: one"
    assert steps[-1].details == {"retry_count": 2, "pages": 3}


def test_retry_workflow_that_gives_up(manager: ProcessingStepManager) -> None:
    """The last attempt ends as FAILED."""
    with pytest.raises(OSError, match="gone"):
        retry(manager, "d", _raising(OSError("gone")), max_retries=3)
    steps = manager.get_steps("d")
    assert [step.status.value for step in steps] == ["RUNNING", "ERROR"] * 2 + ["RUNNING", "FAILED"]
    assert steps[-1].error_message == "Max retries exceeded: gone"
    assert steps[-1].metadata["attempt"] == 3


def test_parallel_workflow(manager: ProcessingStepManager) -> None:
    """Tasks that run side by side each have their step."""

    async def work(section: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        if section == "tables":
            raise ValueError("no tables")
        return {"section": section}

    asyncio.run(parallel(manager, "d", ["text", "tables", "images"], work))
    states = {step.step_name: step.status.value for step in manager.get_steps("d")}
    assert states == {
        "process_section_text": "SUCCESS",
        "process_section_tables": "ERROR",
        "process_section_images": "SUCCESS",
    }
    assert len(manager.get_steps("d")) == 6


def test_errors_are_logged_with_their_context(
    manager: ProcessingStepManager, caplog: pytest.LogCaptureFixture
) -> None:
    """ERROR and FAILED go to `steptrail.steps` as errors, WARNING as a warning, with fields; others do not."""
    caplog.set_level(logging.DEBUG, logger="steptrail.steps")
    for status in ProcessingStatus:
        handle = manager.add_step("d", status.value, status, error_message="why")
        if status is ProcessingStatus.FAILED:
            failed = handle
    levels = {record.__dict__["status"]: record.levelno for record in caplog.records}
    assert levels == {"WARNING": LogLevel.WARNING, "ERROR": LogLevel.ERROR, "FAILED": LogLevel.ERROR}
    record = next(record for record in caplog.records if record.__dict__["status"] == "FAILED")
    assert record.name == "steptrail.steps"
    fields = ("pipeline", "doc_id", "step_name", "error_message", "execution_id", "attempt", "trace_id")
    assert {field: record.__dict__[field] for field in fields} == {
        "pipeline": "invoices",
        "doc_id": "d",
        "step_name": "FAILED",
        "error_message": "why",
        "execution_id": str(uuid.UUID(bytes=failed.execution_id)),
        "attempt": 1,
        "trace_id": None,
    }


def test_a_faulty_log_filter_breaks_no_step(manager: ProcessingStepManager) -> None:
    """Whatever is wrong with the user's logging, the step is recorded and nothing is raised."""

    def faulty(_record: logging.LogRecord) -> bool:
        raise RuntimeError("filter")

    logger = logging.getLogger("steptrail.steps")
    logger.addFilter(faulty)
    try:
        manager.add_step("d", "ocr", "ERROR", error_message="x")
    finally:
        logger.removeFilter(faulty)
    assert told(manager) == [("ocr", "ERROR")]


def test_needs_a_storage() -> None:
    """Something else than a storage is refused at once."""
    with pytest.raises(TypeError, match="storage_backend"):
        ProcessingStepManager("localhost:9092")  # type: ignore[arg-type]


def test_a_handle_belongs_to_its_step(manager: ProcessingStepManager) -> None:
    """A handle of another step or document is refused, as is what is no handle."""
    handle = manager.add_step("d", "ocr", "RUNNING")
    with pytest.raises(ValueError, match="execution"):
        manager.add_step("d", "parse", "SUCCESS", execution=handle)
    with pytest.raises(TypeError, match="execution"):
        manager.add_step("d", "ocr", "SUCCESS", execution=handle.to_dict())  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", ["1", -1, float("nan"), True, None])
def test_timeouts_are_checked(manager: ProcessingStepManager, timeout: Any) -> None:
    """A timeout is a number of seconds."""
    for wait in (manager.flush, manager.wait_projected, manager.close):
        with pytest.raises((TypeError, ValueError), match="timeout"):
            wait(timeout)


def _raising(error: Exception) -> Any:
    def work() -> dict[str, Any]:
        raise error

    return work
