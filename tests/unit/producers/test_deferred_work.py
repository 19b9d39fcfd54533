"""What is awaited, or done later, ends its step when it is done, as it is done."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import inspect
import threading
import types
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from typing import Any

import pytest

from steptrail.producers import ProcessingStepManager
from support.recorded_steps import ending, passing_on, statuses


class Corrupt(Exception):
    pass


class Awaits:
    """An awaitable of a class of its own, also an asynchronous context manager, as clients of HTTP give it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.url = "http://x"

    def __await__(self) -> Generator[Any, None, str]:
        yield from asyncio.sleep(0).__await__()
        if self.error is not None:
            raise self.error
        return "answer"

    async def __aenter__(self) -> str:
        return await self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)

    def __len__(self) -> int:
        return 7


def of_a_coroutine(work: Callable[[], Any]) -> Any:
    async def coroutine() -> Any:
        await asyncio.sleep(0)
        return work()

    return coroutine()


def of_a_task(work: Callable[[], Any]) -> Any:
    return asyncio.get_running_loop().create_task(of_a_coroutine(work))


def of_a_future(work: Callable[[], Any]) -> Any:
    return asyncio.get_running_loop().run_in_executor(None, work)


@types.coroutine
def of_an_old_coroutine(work: Callable[[], Any]) -> Any:
    yield
    return work()


class OfAClass:
    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work

    def __await__(self) -> Generator[Any, None, Any]:
        yield from asyncio.sleep(0).__await__()
        return self.work()


def of_a_coroutine_of_a_task(work: Callable[[], Any]) -> Any:
    async def coroutine() -> Any:
        await asyncio.sleep(0)
        return of_a_task(work)

    async def both() -> Any:
        return await (await coroutine())

    return both()


AWAITED = [
    of_a_coroutine,
    of_a_task,
    of_a_future,
    of_an_old_coroutine,
    OfAClass,
    of_a_coroutine_of_a_task,
]


@pytest.mark.parametrize("make", AWAITED, ids=lambda make: make.__name__)
@pytest.mark.parametrize("fails", [False, True])
def test_what_is_awaited_ends_the_step(
    manager: ProcessingStepManager, make: Callable[[Callable[[], Any]], Any], fails: bool
) -> None:
    """RUNNING until the awaited work is done, then as it ended; the caller gets the same result or error."""
    seen: list[list[str]] = []

    def work() -> str:
        seen.append(statuses(manager))
        if fails:
            raise Corrupt("later")
        return "done"

    @manager.step("d", "work")
    @passing_on
    def call() -> Any:
        return make(work)

    async def main() -> Any:
        awaited = call()
        assert statuses(manager) == ["RUNNING"]
        assert inspect.isawaitable(awaited)
        try:
            return await awaited
        finally:
            await asyncio.sleep(0)  # a future's callbacks run after those who await it, or before

    if fails:
        with pytest.raises(Corrupt):
            asyncio.run(main())
    else:
        assert asyncio.run(main()) == "done"
    assert seen == [["RUNNING"]]
    assert ending(manager).status.value == ("ERROR" if fails else "SUCCESS")
    assert ending(manager).error_message == ("later" if fails else None)


def test_types_stay(manager: ProcessingStepManager) -> None:
    """A coroutine stays one, a task the same object, a generator a generator, any other awaitable looks as before."""

    def give(value: Any) -> Any:
        return manager.step("d", "give")(lambda: value)()

    async def main() -> None:
        coroutine = give(of_a_coroutine(lambda: 1))
        assert inspect.iscoroutine(coroutine)
        assert coroutine.__name__ == "coroutine"
        await coroutine
        task = of_a_task(lambda: 1)
        assert give(task) is task
        await task
        awaitable = give(Awaits())
        assert isinstance(awaitable, Awaits)
        assert (awaitable.url, len(awaitable)) == ("http://x", 7)
        awaitable.url = "other"
        assert await awaitable == "answer"
        assert await awaitable == "answer"

        async def many() -> AsyncIterator[int]:
            yield 1

        assert inspect.isasyncgen(give(many()))

    asyncio.run(main())
    assert inspect.isgenerator(give(n for n in [1]))
    for value in (None, 5, "x", [1], iter([1]), object(), contextlib.nullcontext(), len, Corrupt, Corrupt()):
        assert give(value) is value
    files = give(open(__file__))  # noqa: SIM115
    assert files.read(3) == '"""'
    files.close()


def test_time_is_that_of_the_work(manager: ProcessingStepManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step's time is that of the call and of the work, without what passes between them."""
    now_ns = 0

    def pass_s(seconds: float) -> int:
        nonlocal now_ns
        now_ns += int(seconds * 1e9)
        return now_ns

    monkeypatch.setattr("steptrail.producers.steps.step_context.perf_counter_ns", lambda: now_ns)

    async def work() -> None:
        pass_s(2)

    @manager.step(lambda doc: doc, "work")
    def call(doc: str) -> Any:
        pass_s(1)
        return work() if doc == "coroutine" else (pass_s(2) for _ in range(3))

    coroutine = call("coroutine")
    pass_s(60)
    asyncio.run(coroutine)
    generator = call("generator")
    pass_s(60)
    list(generator)
    assert ending(manager, "coroutine").duration_ms == 3000
    assert ending(manager, "generator").duration_ms == 7000


def test_an_asynchronous_context_manager_ends_the_step(manager: ProcessingStepManager) -> None:
    """An awaitable that is used by `async with` ends its step at the end of that."""

    @manager.step(lambda doc, error=None: doc, "get")
    def get(doc: str, error: Exception | None = None) -> Any:
        return Awaits(error)

    async def main() -> None:
        async with get("ok") as answer:
            assert answer == "answer"
            assert statuses(manager, "ok") == ["RUNNING"]
        with pytest.raises(Corrupt):
            async with get("within"):
                raise Corrupt
        with pytest.raises(Corrupt):
            async with get("entering", Corrupt()):
                pass

    asyncio.run(main())
    assert [statuses(manager, doc)[-1] for doc in ("ok", "within", "entering")] == [
        "SUCCESS",
        "ERROR",
        "ERROR",
    ]


def test_futures_of_threads(manager: ProcessingStepManager) -> None:
    """A future of an executor ends the step when it is done, failed or cancelled; one that is done, at once."""
    release = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        @manager.step(lambda doc, *_: doc, "submit")
        def submit(doc: str, work: Callable[[], Any]) -> concurrent.futures.Future[Any]:
            return pool.submit(work)

        good = submit("good", release.wait)
        bad = submit("bad", lambda: 1 / 0)
        dropped = submit("dropped", lambda: 1)
        assert statuses(manager, "good") == ["RUNNING"]
        assert dropped.cancel()
        release.set()
        with pytest.raises(ZeroDivisionError):
            bad.result()
        good.result()
    found = {doc: ending(manager, doc).status.value for doc in ("good", "bad", "dropped")}
    assert found == {"good": "SUCCESS", "bad": "ERROR", "dropped": "SKIPPED"}

    done: concurrent.futures.Future[int] = concurrent.futures.Future()
    done.set_result(1)
    manager.step("done", "s")(lambda: done)()
    assert statuses(manager, "done") == ["RUNNING", "SUCCESS"]


def test_a_cancelled_task_is_skipped(manager: ProcessingStepManager) -> None:
    """A task that was cancelled, and a coroutine's that was, end as SKIPPED."""

    @manager.step(lambda doc, make: doc, "wait")
    def wait(doc: str, make: Callable[[Any], Any]) -> Any:
        return make(asyncio.sleep(3600))

    async def main() -> None:
        task = wait("task", lambda coroutine: asyncio.get_running_loop().create_task(coroutine))
        other = asyncio.create_task(wait("coroutine", lambda coroutine: coroutine))
        await asyncio.sleep(0)
        task.cancel()
        other.cancel()
        await asyncio.wait([task, other])
        await asyncio.sleep(0)

    asyncio.run(main())
    assert ending(manager, "task").status.value == ending(manager, "coroutine").status.value == "SKIPPED"


def test_asyncio_still_tells_of_exceptions_that_nobody_looked_at(manager: ProcessingStepManager) -> None:
    """That a step looked at a task's exception does not count as the caller's looking."""
    told: list[str] = []

    @manager.step("d", "start")
    def start() -> Any:
        return of_a_task(lambda: 1 / 0)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what["message"]))
        task = start()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        del task
        gc.collect()

    asyncio.run(main())
    assert ending(manager).status.value == "ERROR"
    assert told == ["Task exception was never retrieved"]


def test_what_is_never_awaited_is_skipped(manager: ProcessingStepManager) -> None:
    """Work that was made and dropped was not done."""

    @manager.step(lambda doc, make: doc, "drop")
    def drop(doc: str, make: Callable[[Callable[[], Any]], Any]) -> Any:
        return make(lambda: 1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        drop("coroutine", of_a_coroutine)
        drop("awaitable", OfAClass)
        drop("generator", lambda work: (work() for _ in range(3)))
        gc.collect()
    for doc, reason in (
        ("coroutine", "its coroutine was never awaited"),
        ("awaitable", "it was never awaited"),
        ("generator", "its generator was never iterated"),
    ):
        assert ending(manager, doc).status.value == "SKIPPED"
        assert ending(manager, doc).details == {"skip_reason": reason}


def test_coroutine_functions_are_followed_further(manager: ProcessingStepManager) -> None:
    """What a coroutine function returns is followed, too: a stream that it opened ends its step."""

    @manager.step("d", "open_stream")
    async def open_stream() -> AsyncGenerator[int, None]:
        async def stream() -> AsyncGenerator[int, None]:
            yield 1
            raise Corrupt

        return stream()

    async def main() -> None:
        stream = await open_stream()
        assert statuses(manager) == ["RUNNING"]
        with pytest.raises(Corrupt):
            async for _ in stream:
                pass

    asyncio.run(main())
    assert inspect.iscoroutinefunction(open_stream)
    assert ending(manager).status.value == "ERROR"
