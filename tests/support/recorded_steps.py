"""What a manager recorded of one step, in memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from steptrail.producers import ProcessingStepManager
from steptrail.schemas import ProcessingStep


def statuses(manager: ProcessingStepManager, doc_id: str = "d") -> list[str]:
    """The statuses in the order in which they were recorded."""
    return [step.status.value for step in manager.get_steps(doc_id)]


def ending(manager: ProcessingStepManager, doc_id: str = "d") -> ProcessingStep:
    """The ending of a step that was begun and ended once."""
    steps = manager.get_steps(doc_id)
    assert [step.status.value == "RUNNING" for step in steps] == [True, False]
    assert steps[0].metadata["execution_id"] == steps[1].metadata["execution_id"]
    return steps[-1]


def raised_in_step(manager: ProcessingStepManager, error: BaseException, **options: Any) -> ProcessingStep:
    """The ending of a step that this exception left; it is raised on as it is."""
    with pytest.raises(type(error)) as caught, manager.step("d", "s", **options):
        raise error
    assert caught.value is error
    return ending(manager)


def passing_on(function: Callable[..., Any]) -> Callable[..., Any]:
    """As many a decorator is written: a plain function around one of any kind."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper
