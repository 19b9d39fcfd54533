"""What each way to leave a step means."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest

from steptrail.producers import InMemoryStorage, ProcessingStepManager
from support.recorded_steps import ending, raised_in_step


class AlreadyDone(Exception):
    pass


class AlreadyDoneHere(AlreadyDone):
    pass


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (SystemExit(), "SUCCESS", None),
        (SystemExit(0), "SUCCESS", None),
        (SystemExit(False), "SUCCESS", None),
        (SystemExit(3), "ERROR", "exit code 3"),
        (SystemExit("no input"), "ERROR", "no input"),
        (GeneratorExit(), "SUCCESS", None),
        (KeyboardInterrupt(), "ERROR", "interrupted"),
        (StopIteration(), "ERROR", ""),
        (StopAsyncIteration("x"), "ERROR", "x"),
        (asyncio.CancelledError(), "SKIPPED", "cancelled"),
        (asyncio.CancelledError("shutting down"), "SKIPPED", "shutting down"),
        (concurrent.futures.CancelledError(), "SKIPPED", ""),
        (TimeoutError("after 5 s"), "ERROR", "after 5 s"),
        (MemoryError(), "ERROR", ""),
    ],
    ids=repr,
)
def test_what_each_exception_means(
    manager: ProcessingStepManager, error: BaseException, status: str, message: str | None
) -> None:
    """Each exception has its meaning; what is no fault has neither type nor message."""
    ended = raised_in_step(manager, error)
    assert (ended.status.value, ended.error_message) == (status, message)
    assert ("error_type" in ended.metadata) is (message is not None)


@pytest.mark.parametrize(
    ("module", "name"),
    [("trio", "Cancelled"), ("trio._core._exceptions", "Cancelled"), ("greenlet", "GreenletExit")],
)
def test_cancellations_of_other_libraries(manager: ProcessingStepManager, module: str, name: str) -> None:
    """What trio and gevent raise into work that they cancel means SKIPPED, too."""
    kind = type(name, (BaseException,), {"__module__": module})
    assert raised_in_step(manager, kind()).status.value == "SKIPPED"


def test_a_generator_closed_early_is_no_error(manager: ProcessingStepManager) -> None:
    """A step in a generator whose consumer stops is SUCCESS, marked as closed early."""

    def pages() -> Iterator[int]:
        with manager.step("d", "pages"):
            yield 1
            yield 2

    for _ in pages():
        break
    gc.collect()
    assert ending(manager).status.value == "SUCCESS"
    assert ending(manager).details == {"closed_early": True}


def test_an_asynchronous_generator_closed_early_is_no_error(manager: ProcessingStepManager) -> None:
    """The same for an asynchronous one."""

    async def pages() -> AsyncIterator[int]:
        async with manager.step("d", "pages"):
            yield 1
            yield 2

    async def main() -> None:
        iterator: Any = pages()
        async for _ in iterator:
            break
        await iterator.aclose()

    asyncio.run(main())
    assert ending(manager).status.value == "SUCCESS"
    assert ending(manager).details == {"closed_early": True}


def test_a_coroutine_closed_early_is_skipped(manager: ProcessingStepManager) -> None:
    """The work of a coroutine that is closed was not done: SKIPPED, not SUCCESS."""

    class Waits:
        def __await__(self) -> Generator[None, None, None]:
            yield

    async def work() -> None:
        with manager.step("d", "work"):
            await Waits()

    coroutine = work()
    coroutine.send(None)
    coroutine.close()
    assert ending(manager).status.value == "SKIPPED"
    assert ending(manager).metadata["error_type"] == "GeneratorExit"


def test_cancellation_is_skipped_and_goes_on(manager: ProcessingStepManager) -> None:
    """A cancelled step is SKIPPED, says why, and the cancellation reaches the task."""

    async def work() -> None:
        async with manager.step("d", "ocr"):
            await asyncio.sleep(3600)

    async def main() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    ended = ending(manager)
    assert (ended.status.value, ended.error_message) == ("SKIPPED", "cancelled")
    assert ended.details == {"skip_reason": "cancelled"}
    assert ended.metadata["error_type"] == "asyncio.exceptions.CancelledError"


def test_exceptions_that_mean_skipped(manager: ProcessingStepManager) -> None:
    """Exceptions of `skip_on` end as SKIPPED with their type, message and the reason, and are raised on."""
    ended = raised_in_step(manager, AlreadyDone("since Monday"), skip_on=AlreadyDone)
    assert (ended.status.value, ended.error_message) == ("SKIPPED", "since Monday")
    assert ended.details == {"skip_reason": "since Monday"}
    assert ended.metadata["error_type"].endswith("AlreadyDone")


@pytest.mark.parametrize(
    ("error", "status"),
    [(AlreadyDone(), "SKIPPED"), (AlreadyDoneHere(), "FAILED"), (asyncio.CancelledError(), "ERROR")],
    ids=repr,
)
def test_the_nearest_class_counts(manager: ProcessingStepManager, error: BaseException, status: str) -> None:
    """Of the named classes that an exception is of, the nearest says what it means; names win over our meanings."""
    options: dict[str, Any] = {
        "skip_on": AlreadyDone,
        "fatal": (OSError, AlreadyDoneHere),
        "error_on": asyncio.CancelledError,
    }
    assert raised_in_step(manager, error, **options).status.value == status


def test_meanings_for_all_steps_of_a_manager() -> None:
    """A manager's meanings hold for each of its steps, decorated ones too, unless the step says otherwise."""
    manager = ProcessingStepManager(InMemoryStorage(), skip_on=AlreadyDone, fatal=OSError, traceback=True)
    assert raised_in_step(manager, AlreadyDone()).status.value == "SKIPPED"
    with pytest.raises(AlreadyDone), manager.step("d2", "s", error_on=AlreadyDone, traceback=False):
        raise AlreadyDone
    assert ending(manager, "d2").status.value == "ERROR"
    assert ending(manager, "d2").details == {}

    @manager.step("d3")
    def work() -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        work()
    assert ending(manager, "d3").status.value == "FAILED"
    assert "PermissionError" in ending(manager, "d3").details["exception"]["traceback"]


def test_an_explicit_failure_outlives_a_quiet_exit(manager: ProcessingStepManager) -> None:
    """A step that said `fail` stays failed when the process then exits with 0, or the work is cancelled."""
    for doc, error in (("a", SystemExit(0)), ("b", asyncio.CancelledError()), ("c", GeneratorExit())):
        with contextlib.suppress(type(error)), manager.step(doc, "s") as step:
            step.fail("no text at all")
            raise error
        assert (ending(manager, doc).status.value, ending(manager, doc).error_message) == (
            "FAILED",
            "no text at all",
        )


def test_a_quiet_exit_keeps_thresholds(manager: ProcessingStepManager) -> None:
    """Work that ended by sys.exit(0) is judged like any that returned."""
    ended = raised_in_step(manager, SystemExit(0), warn_after_ms=0)
    assert ended.status.value == "WARNING"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
