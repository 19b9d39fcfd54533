"""What each way to leave a step means, and what is kept of the exceptions."""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import contextlib
import gc
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest

from steptrail.producers import InMemoryStorage, ProcessingStepManager, common_secrets
from steptrail.producers.steps.exception_facts import LONGEST_TEXT, LONGEST_TRACEBACK, facts_of, message_of
from steptrail.schemas import ProcessingStep

PAGES: dict[str, int] = {}


class AlreadyDone(Exception):
    pass


class AlreadyDoneHere(AlreadyDone):
    pass


class BackportedGroup(Exception):
    """As `exceptiongroup.ExceptionGroup` looks from outside."""

    def __init__(self, message: str, exceptions: list[Exception]) -> None:
        super().__init__(message)
        self.message = message
        self.exceptions = tuple(exceptions)


@pytest.fixture
def manager() -> ProcessingStepManager:
    return ProcessingStepManager(InMemoryStorage())


def ending(manager: ProcessingStepManager, doc_id: str = "d") -> ProcessingStep:
    steps = manager.get_steps(doc_id)
    assert [step.status.value == "RUNNING" for step in steps] == [True, False]
    return steps[-1]


def raised_in_step(manager: ProcessingStepManager, error: BaseException, **options: Any) -> ProcessingStep:
    """The ending of a step that this exception left; it is raised on as it is."""
    with pytest.raises(type(error)) as caught, manager.step("d", "s", **options):
        raise error
    assert caught.value is error
    return ending(manager)


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


# --- what fail, warn, skip, details and metrics are given ------------------------------------------------


@pytest.mark.parametrize(("method", "status"), [("fail", "FAILED"), ("warn", "WARNING"), ("skip", "SKIPPED")])
def test_an_exception_in_place_of_a_message(manager: ProcessingStepManager, method: str, status: str) -> None:
    """An exception can be given as it is: its type, message and causes are recorded."""
    with manager.step("d", "s") as step:
        try:
            try:
                int("x")
            except ValueError as error:
                raise AlreadyDone("parsed before") from error
        except AlreadyDone as error:
            getattr(step, method)(error)
    ended = ending(manager)
    assert ended.status.value == status
    assert ended.metadata["error_type"].endswith("AlreadyDone")
    assert ended.error_message is not None
    assert ended.error_message.startswith("parsed before (caused by ValueError: invalid literal")
    assert ended.details["exception"]["causes"][0]["type"] == "ValueError"


class Faulty:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")

    __hash__ = None  # type: ignore[assignment]


class FaultyText(str):
    def encode(self, *_: object, **__: object) -> bytes:
        raise RuntimeError("no bytes")

    def isascii(self) -> bool:
        raise RuntimeError("no idea")


class FaultyError(Exception):
    @property
    def exceptions(self) -> tuple[Exception, ...]:
        raise RuntimeError("no members")

    def __str__(self) -> str:
        raise RuntimeError("no text")


STRANGE = [
    5,
    None,
    b"\xff",
    ["a"],
    {"a": object()},
    Faulty(),
    FaultyText("x"),
    FaultyError(),
    ValueError,
    "\ud800\0",
]


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(("method", "status"), [("fail", "FAILED"), ("warn", "WARNING"), ("skip", "SKIPPED")])
def test_a_strange_value_never_loses_the_ending(
    manager: ProcessingStepManager, method: str, status: str, value: Any
) -> None:
    """Whatever fail, warn and skip are given, the step ends so and nothing is raised."""
    with manager.step("d", "s") as step:
        getattr(step, method)(value)
    assert ending(manager).status.value == status


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: type(value).__name__)
def test_strange_details_and_metrics_never_lose_the_ending(
    manager: ProcessingStepManager, value: Any
) -> None:
    """Whatever stands in details and metrics, or in their place, the step ends as it ended."""
    with manager.step("in them", "s", warn_after_ms=1e9, thresholds={"m": 10}) as step:
        step.details["d"] = value
        step.metric("m", value)
        step.metrics["duration_ms"] = value
    assert ending(manager, "in them").status.value == "SUCCESS"
    with manager.step("in their place", "s", thresholds={"m": 1}) as step:
        step.details = value
        step.metrics = value
    assert ending(manager, "in their place").status.value == "SUCCESS"
    with contextlib.suppress(AlreadyDone), manager.step("raised", "s") as step:
        step.details = step.metrics = value
        raise AlreadyDone
    assert ending(manager, "raised").status.value == "ERROR"


def test_an_exception_whose_class_is_strange(manager: ProcessingStepManager) -> None:
    """An exception that answers nothing is recorded as an error all the same."""

    class Kind(type):
        @property
        def __module__(cls) -> str:  # type: ignore[override]
            raise RuntimeError("no module")

    class Strange(Exception, metaclass=Kind):
        __cause__ = property(lambda self: 1 / 0)
        __notes__ = property(lambda self: 1 / 0)

        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert raised_in_step(manager, Strange()).status.value == "ERROR"


# --- causes, groups, notes, tracebacks ---------------------------------------------------------------------


def caught(raising: Callable[[], object]) -> BaseException:
    try:
        raising()
    except BaseException as error:
        return error
    raise AssertionError


def chained() -> None:
    try:
        try:
            PAGES["page"]
        except KeyError as error:
            raise ValueError("no page 3") from error
    except ValueError as error:
        raise RuntimeError("embedding failed") from error


def test_a_plain_exception_is_its_text(manager: ProcessingStepManager) -> None:
    """Without causes or members the message is str(error), and details are as they were given."""
    ended = raised_in_step(manager, ValueError("no page 3"))
    assert ended.error_message == "no page 3"
    assert ended.details == {}


def test_causes_are_kept(manager: ProcessingStepManager) -> None:
    """What an exception was raised from is in its message, for groups, and in details."""
    with pytest.raises(RuntimeError), manager.step("d", "s"):
        chained()
    ended = ending(manager)
    assert ended.error_message == (
        "embedding failed (caused by ValueError: no page 3, caused by KeyError: 'page')"
    )
    assert ended.metadata["error_type"] == "RuntimeError"
    assert ended.details["exception"] == {
        "causes": [{"type": "ValueError", "message": "no page 3"}, {"type": "KeyError", "message": "'page'"}]
    }


def test_what_was_being_handled_is_kept_apart() -> None:
    """An exception raised while another was handled names it in details, as implicit, and not in its message."""

    def raising() -> None:
        try:
            PAGES["page"]
        except KeyError:
            raise ValueError("no page 3")  # noqa: B904

    error = caught(raising)
    assert message_of(error) == "no page 3"
    assert facts_of(error) == {"causes": [{"type": "KeyError", "message": "'page'", "implicit": True}]}


def test_a_suppressed_context_is_not_kept() -> None:
    """`raise … from None` says that what was handled does not matter."""

    def raising() -> None:
        try:
            PAGES["page"]
        except KeyError:
            raise ValueError("no page 3") from None

    assert facts_of(caught(raising)) == {}


def test_a_message_that_quotes_its_cause_says_it_once() -> None:
    """Where the message has the cause's, only the cause's type is added."""
    error = RuntimeError("embedding failed: no page 3")
    error.__cause__ = ValueError("no page 3")
    assert message_of(error) == "embedding failed: no page 3 (caused by ValueError)"


def test_long_and_circular_chains_are_bounded() -> None:
    """Cycles and thousands of causes end; the last cause is named in the message."""
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert facts_of(one) == {"causes": [{"type": "ValueError", "message": "two"}]}

    error: Exception = ValueError("root")
    for number in range(50):
        wrapper = RuntimeError(f"level {number} " + "x " * 10_000)
        wrapper.__cause__ = error
        error = wrapper
    assert message_of(error).endswith("caused by ValueError: root)")
    facts = facts_of(error)
    assert len(facts["causes"]) == 10
    assert max(len(cause["message"]) for cause in facts["causes"]) <= LONGEST_TEXT + 1


def groups() -> list[Callable[[str, list[Exception]], Exception]]:
    found: list[Callable[[str, list[Exception]], Exception]] = [BackportedGroup]
    if sys.version_info >= (3, 11):
        found.append(builtins.ExceptionGroup)
    return found


@pytest.mark.parametrize("group", groups())
def test_members_of_groups_are_kept(group: Callable[[str, list[Exception]], Exception]) -> None:
    """The members of a group are in its message, in an order that does not depend on theirs, and in details."""
    members = [ValueError("page 3"), KeyError("k"), group("inner", [OSError("disk")]), ValueError("page 3")]
    error, other = group("all failed", members), group("all failed", members[::-1])
    assert message_of(error).removeprefix(str(error)) == ": KeyError: 'k'; OSError: disk; ValueError: page 3"
    assert message_of(other) == message_of(error)
    found = facts_of(error)["members"]
    assert [member["message"] for member in found if "members" not in member] == ["page 3", "'k'", "page 3"]
    assert found[2]["members"] == [{"type": "OSError", "message": "disk"}]


@pytest.mark.parametrize("group", groups())
def test_large_groups_are_bounded(group: Callable[[str, list[Exception]], Exception]) -> None:
    """Of many members some are kept, and how many are not is said."""
    error = group("all failed", [ValueError(f"page {n} " + "x " * 2000) for n in range(1000)])
    facts = facts_of(error)
    assert len(facts["members"]) + facts["members_left_out"] == 1000
    assert len(json.dumps(facts)) < 64 * 1024
    assert message_of(error).endswith("; and 997 more")
    assert len(message_of(error)) < 2048


def test_a_deep_group_is_bounded() -> None:
    """Groups within groups are followed a few levels down."""
    error: Exception = ValueError("root")
    for _ in range(500):
        error = BackportedGroup("level", [error])
    assert len(json.dumps(facts_of(error))) < 10_000
    assert message_of(error) == "level: ValueError: root"


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ([AlreadyDone(), AlreadyDone()], "SKIPPED"),
        ([AlreadyDone(), ValueError()], "ERROR"),
        ([AlreadyDone(), ValueError(), PermissionError()], "FAILED"),
    ],
)
def test_a_group_is_as_bad_as_its_worst_member(
    manager: ProcessingStepManager, members: list[Exception], status: str
) -> None:
    """What was named means the same within a group."""
    ended = raised_in_step(manager, BackportedGroup("g", members), skip_on=AlreadyDone, fatal=OSError)
    assert ended.status.value == status


def test_notes_are_kept() -> None:
    """Notes that were added to an exception (PEP 678) are in details."""
    error: Any = ValueError("x")
    error.__notes__ = ["while reading page 3", 5]
    assert facts_of(error) == {"notes": ["while reading page 3", "5"]}


def test_tracebacks_are_kept_if_asked_and_bounded(manager: ProcessingStepManager) -> None:
    """A traceback is kept when it is asked for, its end when it is long."""

    def deep(left: int) -> None:
        if left:
            deep(left - 1)
        chained()

    with pytest.raises(RuntimeError), manager.step("d", "s", traceback=True):
        deep(200)
    found = ending(manager).details["exception"]["traceback"]
    assert found.endswith("RuntimeError: embedding failed")
    assert "in chained" in found
    assert len(found) <= LONGEST_TRACEBACK + 2
    long = facts_of(caught(lambda: (_ for _ in ()).throw(ValueError("x" * 10**6))), traceback=True)
    assert len(long["traceback"]) <= LONGEST_TRACEBACK + 2


def test_secrets_in_causes_are_redacted() -> None:
    """Redactors see causes, members, notes and tracebacks, and no half of a secret is left by our cuts."""
    manager = ProcessingStepManager(InMemoryStorage(redact=[common_secrets()]), traceback=True)
    token = "ghp_" + "a1B2" * 10
    error: Any = BackportedGroup("all failed", [ValueError(f"token {token}")])
    error.__cause__ = RuntimeError("x" * (LONGEST_TEXT - 10) + " " + token)
    error.__notes__ = [f"with {token}"]
    ended = raised_in_step(manager, error)
    assert set(ended.details["exception"]) == {"causes", "members", "notes", "traceback"}
    shown = json.dumps(ended.to_dict())
    assert token[:9] not in shown
    assert shown.count("***") >= 3


def test_a_detail_of_the_same_name_is_kept(manager: ProcessingStepManager) -> None:
    """What the work itself put under `exception` stays."""
    with contextlib.suppress(RuntimeError), manager.step("d", "s") as step:
        step.details["exception"] = "mine"
        chained()
    assert ending(manager).details == {"exception": "mine"}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
