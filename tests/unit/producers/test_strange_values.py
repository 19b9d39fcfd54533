"""Whatever a step is given, its ending is recorded."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from steptrail.producers import ProcessingStepManager
from support.recorded_steps import ending, raised_in_step


class AlreadyDone(Exception):
    pass


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


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
