"""What is kept of an exception: causes, members of groups, notes, tracebacks, within bounds."""

from __future__ import annotations

import builtins
import contextlib
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from steptrail.producers import InMemoryStorage, ProcessingStepManager, common_secrets
from steptrail.producers.steps.exception_facts import LONGEST_TEXT, LONGEST_TRACEBACK, facts_of, message_of
from support.recorded_steps import ending, raised_in_step

PAGES: dict[str, int] = {}


class AlreadyDone(Exception):
    pass


class BackportedGroup(Exception):
    """As `exceptiongroup.ExceptionGroup` looks from outside."""

    def __init__(self, message: str, exceptions: list[Exception]) -> None:
        super().__init__(message)
        self.message = message
        self.exceptions = tuple(exceptions)


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
