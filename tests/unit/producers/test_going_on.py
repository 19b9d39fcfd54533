"""Decorated callables of every kind: the step ends when the work does, as the work does."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import gc
import inspect
import threading
import types
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest

from steptrail.producers import InMemoryStorage, ProcessingStepManager, current_step
from steptrail.schemas import ProcessingStep


class Corrupt(Exception):
    pass


@pytest.fixture
def manager() -> ProcessingStepManager:
    return ProcessingStepManager(InMemoryStorage())


def statuses(manager: ProcessingStepManager, doc_id: str = "d") -> list[str]:
    return [step.status.value for step in manager.get_steps(doc_id)]


def ending(manager: ProcessingStepManager, doc_id: str = "d") -> ProcessingStep:
    running, ended = manager.get_steps(doc_id)
    assert running.metadata["execution_id"] == ended.metadata["execution_id"]
    return ended


def passing_on(function: Callable[..., Any]) -> Callable[..., Any]:
    """As many a decorator is written: a plain function around one of any kind."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


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


# --- what a call gives is awaited ---------------------------------------------------------------------------


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


# --- generators ---------------------------------------------------------------------------------------------


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


# --- callables of every kind ----------------------------------------------------------------------------------


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
