"""Generators and context managers as steps: begun at the first item, ended at the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any

import pytest

from steptrail.producers import ProcessingStepManager, current_step
from support.recorded_steps import ending, passing_on, statuses


class Corrupt(Exception):
    pass


def counting(upto: int, fails: bool = False) -> Generator[int, Any, str]:
    """Counts, and gives back what it is sent."""
    for number in range(upto):
        got = yield number
        if got == "fail":
            raise Corrupt("told to")
    if fails:
        raise Corrupt("later")
    return "counted"


@pytest.mark.parametrize("way", ["decorated", "returned"])
def test_generators(manager: ProcessingStepManager, way: str) -> None:
    """A generator's step begins with it and ends with it: exhausted, failed, thrown into, or closed early."""
    function = counting if way == "decorated" else passing_on(counting)
    count = {
        doc: manager.step(doc, "count")(function)
        for doc in ("all", "fails", "thrown", "sent", "closed", "gone")
    }
    assert inspect.isgeneratorfunction(count["all"]) is (way == "decorated")

    def through() -> Iterator[int]:
        returned = yield from count["all"](3)
        assert returned == "counted"

    assert list(through()) == [0, 1, 2]
    with pytest.raises(Corrupt):
        list(count["fails"](2, fails=True))
    thrown = count["thrown"](3)
    next(thrown)
    with pytest.raises(ZeroDivisionError):
        thrown.throw(ZeroDivisionError())
    sent = count["sent"](3)
    next(sent)
    with pytest.raises(Corrupt, match="told to"):
        sent.send("fail")
    closed = count["closed"](3)
    next(closed)
    closed.close()
    for _ in count["gone"](3):
        break
    gc.collect()
    found = {doc: (statuses(manager, doc), ending(manager, doc).details) for doc in count}
    assert found == {
        "all": (["RUNNING", "SUCCESS"], {}),
        "fails": (["RUNNING", "ERROR"], {}),
        "thrown": (["RUNNING", "ERROR"], {}),
        "sent": (["RUNNING", "ERROR"], {}),
        "closed": (["RUNNING", "SUCCESS"], {"closed_early": True}),
        "gone": (["RUNNING", "SUCCESS"], {"closed_early": True}),
    }


def test_a_generator_function_begins_at_its_first_item(manager: ProcessingStepManager) -> None:
    """Nothing is recorded of a generator function's call alone."""
    iterator = manager.step("d", "count")(counting)(2)
    assert statuses(manager) == []
    next(iterator)
    assert statuses(manager) == ["RUNNING"]


def test_a_generator_that_survives_what_is_thrown(manager: ProcessingStepManager) -> None:
    """Exceptions that the generator handles are its own affair; one that refuses to close is an error."""

    @manager.step(lambda doc: doc, "stubborn")
    def stubborn(doc: str) -> Iterator[int]:
        for number in range(3):
            try:
                yield number
            except ZeroDivisionError:
                yield -1
            except GeneratorExit:
                if doc == "refuses":
                    yield -2
                raise

    iterator: Any = stubborn("handles")
    assert [next(iterator), iterator.throw(ZeroDivisionError()), *iterator] == [0, -1, 1, 2]
    assert ending(manager, "handles").status.value == "SUCCESS"
    iterator = stubborn("refuses")
    next(iterator)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        iterator.close()
    assert ending(manager, "refuses").status.value == "ERROR"


async def acounting(upto: int, fails: bool = False) -> AsyncGenerator[int, Any]:
    for number in range(upto):
        await asyncio.sleep(0)
        got = yield number
        if got == "fail":
            raise Corrupt("told to")
    if fails:
        raise Corrupt("later")


@pytest.mark.parametrize("way", ["decorated", "returned"])
def test_asynchronous_generators(manager: ProcessingStepManager, way: str) -> None:
    """The same for asynchronous ones, also for those that the event loop closes."""
    function = acounting if way == "decorated" else passing_on(acounting)
    docs = ("all", "fails", "thrown", "sent", "closed", "gone")
    count = {doc: manager.step(doc, "count")(function) for doc in docs}
    assert inspect.isasyncgenfunction(count["all"]) is (way == "decorated")

    async def main() -> None:
        assert [number async for number in count["all"](3)] == [0, 1, 2]
        with pytest.raises(Corrupt):
            [number async for number in count["fails"](2, fails=True)]
        thrown = count["thrown"](3)
        await thrown.__anext__()
        with pytest.raises(ZeroDivisionError):
            await thrown.athrow(ZeroDivisionError())
        sent = count["sent"](3)
        await sent.__anext__()
        with pytest.raises(Corrupt, match="told to"):
            await sent.asend("fail")
        closed = count["closed"](3)
        await closed.__anext__()
        await closed.aclose()
        async for _ in count["gone"](3):
            break

    asyncio.run(main())
    found = {doc: (statuses(manager, doc), ending(manager, doc).details) for doc in docs}
    assert found == {
        "all": (["RUNNING", "SUCCESS"], {}),
        "fails": (["RUNNING", "ERROR"], {}),
        "thrown": (["RUNNING", "ERROR"], {}),
        "sent": (["RUNNING", "ERROR"], {}),
        "closed": (["RUNNING", "SUCCESS"], {"closed_early": True}),
        "gone": (["RUNNING", "SUCCESS"], {"closed_early": True}),
    }


def test_a_generators_step_is_current_in_it_alone(manager: ProcessingStepManager) -> None:
    """`current_step` is the generator's within it, also after a step of its own, and not in its consumer."""
    seen: list[str | None] = []

    def name() -> str | None:
        step = current_step()
        return None if step is None else step.step_name

    @manager.step("d", "outer")
    def numbers() -> Iterator[int]:
        seen.append(name())
        yield 1
        with manager.step("d", "inner"):
            seen.append(name())
            yield 2
            seen.append(name())
        seen.append(name())

    @manager.step("a", "outer")
    async def anumbers() -> AsyncIterator[int]:
        seen.append(name())
        yield 1
        seen.append(name())

    for _ in numbers():
        assert name() is None

    async def main() -> None:
        async for _ in anumbers():
            assert name() is None

    asyncio.run(main())
    assert seen == ["outer", "inner", "inner", "outer", "outer", "outer"]


def test_results_set_from_within_are_kept(manager: ProcessingStepManager) -> None:
    """Details that the work sets while it goes on are in the ending."""

    @manager.step("d", "work")
    @passing_on
    async def work() -> None:
        await asyncio.sleep(0)
        step = current_step()
        assert step is not None
        step.details["pages"] = 3

    asyncio.run(work())
    assert ending(manager).details == {"pages": 3}


def test_functions_of_contextlib(manager: ProcessingStepManager) -> None:
    """A decorated context manager's step lasts as long as its block."""

    @manager.step(lambda doc: doc, "hold")
    @contextlib.contextmanager
    def hold(doc: str) -> Iterator[int]:
        yield 5

    @manager.step(lambda doc: doc, "ahold")
    @contextlib.asynccontextmanager
    async def ahold(doc: str) -> AsyncIterator[int]:
        yield 6

    with hold("good") as five:
        assert five == 5
        assert statuses(manager, "good") == ["RUNNING"]
    with pytest.raises(Corrupt), hold("bad"):
        raise Corrupt

    async def main() -> None:
        async with ahold("agood") as six:
            assert six == 6
            assert statuses(manager, "agood") == ["RUNNING"]

    asyncio.run(main())
    found = [ending(manager, doc).status.value for doc in ("good", "bad", "agood")]
    assert found == ["SUCCESS", "ERROR", "SUCCESS"]
