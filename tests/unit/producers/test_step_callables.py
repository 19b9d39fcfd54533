"""Callables of every kind can be steps: objects, methods, partials, those without a name."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from steptrail.producers import ProcessingStepManager
from support.recorded_steps import ending, statuses


def double(number: int, times: int = 2) -> int:
    return number * times


class Model:
    __slots__ = ("factor",)

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, number: int) -> int:
        return number * self.factor

    def method(self, number: int) -> int:
        return number * self.factor


class AsyncModel:
    async def __call__(self, number: int) -> int:
        await asyncio.sleep(0)
        return number * 2


class Unnameable:
    @property
    def __name__(self) -> str:
        raise RuntimeError("no name")

    def __call__(self, number: int) -> int:
        return number * 2


CALLABLES: list[tuple[Callable[[int], Any], str]] = [
    (functools.partial(double, times=2), "double"),
    (functools.partial(functools.partial(Model(1)), 6), "Model"),
    (Model(2), "Model"),
    (Model(2).method, "method"),
    (lambda number: number * 2, "<lambda>"),
    ((3).__mul__, "__mul__"),
    (Unnameable(), "Unnameable"),
    (functools.lru_cache(double), "double"),
    (functools.singledispatch(double), "double"),
    (str, "str"),
]


@pytest.mark.parametrize(
    ("function", "name"), CALLABLES, ids=[f"{number}-{name}" for number, (_, name) in enumerate(CALLABLES)]
)
def test_callables_of_every_kind(manager: ProcessingStepManager, function: Any, name: str) -> None:
    """Partial functions, objects, bound and built-in methods are decorated as functions are, and have a name."""
    arguments = () if isinstance(function, functools.partial) and name == "Model" else (3,)
    recorded = manager.step("d")(function)
    assert recorded(*arguments) == function(*arguments)
    assert recorded.__name__ == name
    assert [step.step_name for step in manager.get_steps("d")] == [name, name]
    assert statuses(manager) == ["RUNNING", "SUCCESS"]


def test_asynchronous_objects(manager: ProcessingStepManager) -> None:
    """An object whose call is a coroutine function, or a part of one, stays one."""
    for doc, function in (("object", AsyncModel()), ("partial", functools.partial(AsyncModel()))):
        recorded: Callable[[int], Awaitable[int]] = manager.step(doc)(function)
        assert inspect.iscoroutinefunction(recorded)
        assert asyncio.run(recorded(3)) == 6
        assert ending(manager, doc).step_name == "AsyncModel"


def test_methods_of_every_kind(manager: ProcessingStepManager) -> None:
    """Methods, static methods and class methods, whichever decorator is the outer one."""

    class Worker:
        @manager.step(lambda self, doc: doc)
        def plain(self, doc: str) -> str:
            return doc

        @manager.step(lambda doc: doc)
        @staticmethod
        def outside(doc: str) -> str:
            return doc

        @staticmethod
        @manager.step(lambda doc: doc)
        def inside(doc: str) -> str:
            return doc

        @manager.step(lambda cls, doc: doc)
        @classmethod
        def of_class(cls, doc: str) -> str:
            return f"{cls.__name__} {doc}"

    worker = Worker()
    assert worker.plain("a") == "a"
    assert (Worker.outside("b"), worker.outside("c"), worker.inside("d")) == ("b", "c", "d")
    of_class: Any = worker.of_class
    assert of_class("e") == "Worker e"
    found = [manager.get_steps(doc)[-1].step_name for doc in "abcde"]
    assert found == ["plain", "outside", "outside", "inside", "of_class"]


@pytest.mark.parametrize("value", [5, None, "text", property(lambda self: 1)])
def test_what_cannot_be_called_is_refused(manager: ProcessingStepManager, value: Any) -> None:
    """Decorating what cannot be called says how a step is written."""
    with pytest.raises(TypeError, match=r"@manager\.step\(doc_id\)"):
        manager.step("d")(value)
