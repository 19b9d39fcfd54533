"""Follows work that continues after its call has returned: the step ends when the work does.

The caller gets what the function returned, or a wrapper of the same type: a coroutine for a coroutine, a generator for
a generator. Futures are returned unchanged; an awaitable of another class is returned as a proxy.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Final

from steptrail.producers.steps.active_step import active_step
from steptrail.producers.steps.awaitable_proxy import can_stand_in, stand_in
from steptrail.schemas.foreign import let_through

if TYPE_CHECKING:
    from steptrail.producers.steps.step_context import StepContext

_DONE: Final = frozenset({type(None), bool, int, float, str, bytes, dict, list, tuple, set, frozenset})
"""Types of most results, in which nothing goes on."""
_CONTEXTS: Final[tuple[type[Any], ...]] = (
    contextlib._GeneratorContextManager,
    contextlib._AsyncGeneratorContextManager,
)
"""What @contextmanager and @asynccontextmanager make: the work is done by the generator within."""


class Unbegun:
    """Holds the step until the work begins; if it is dropped before that, the step ends as SKIPPED."""

    __slots__ = ("reason", "step")

    def __init__(self, step: StepContext, reason: str) -> None:
        self.step: StepContext | None = step
        self.reason = reason

    def taken_up(self) -> StepContext:
        """Hand the step over to the caller, which starts the work."""
        step, self.step = self.step, None
        assert step is not None
        step._go_on()
        return step

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the interpreter may be ending
            if self.step is not None:
                self.step._abandon(self.reason)


def follow(step: StepContext, result: Any) -> Any:
    """Return the result for the caller; if the work continues in it, `step` does, too."""
    if type(result) in _DONE:
        return result
    try:
        return _followed(step, result)
    except Exception as fault:  # an object whose attributes raise; the work matters more
        let_through(fault)
        return result


def _followed(step: StepContext, result: Any) -> Any:
    if inspect.iscoroutine(result) or _is_generator_coroutine(result):
        return _named(_coroutine(Unbegun(step, "its coroutine was never awaited"), result), result, step)
    if isinstance(result, GeneratorType):
        begun = Unbegun(step, "its generator was never iterated")
        return _named(generator_function(lambda: (begun, result))(), result, step)
    if inspect.isasyncgen(result):
        begun = Unbegun(step, "its generator was never iterated")
        return _named(async_generator_function(lambda: (begun, result))(), result, step)
    if _is_future(type(result)):
        _follow_future(step, result)
    elif isinstance(result, _CONTEXTS):
        result.gen = follow(step, result.gen)
    elif can_stand_in(result):
        step._goes_on = True
        return stand_in(Unbegun(step, "it was never awaited"), result, recorded)
    return result


def _named(ours: Any, theirs: Any, step: StepContext) -> Any:
    step._goes_on = True
    for name in ("__name__", "__qualname__"):
        with contextlib.suppress(Exception):
            setattr(ours, name, getattr(theirs, name))
    return ours


def _is_generator_coroutine(result: object) -> bool:
    return isinstance(result, GeneratorType) and bool(result.gi_code.co_flags & inspect.CO_ITERABLE_COROUTINE)


async def _coroutine(begun: Unbegun, awaitable: Awaitable[Any]) -> Any:
    return await recorded(begun.taken_up(), awaitable)


async def recorded(step: StepContext, awaitable: Awaitable[Any]) -> Any:
    """Await and return the result; the step ends then, unless the work continues in the result."""
    token = active_step.set(step)
    try:
        result = follow(step, await awaitable)
    except BaseException as error:
        step._end(error)
        raise
    finally:
        with contextlib.suppress(ValueError):  # closed from another context
            active_step.reset(token)
    if not step._goes_on:
        step._end(None)
    return result


def generator_function(
    start: Callable[..., tuple[Unbegun, Generator[Any, Any, Any]]],
) -> Callable[..., Generator[Any, Any, Any]]:
    """Wrap a generator function: `start` takes its arguments and returns a step and the generator that does the
    work.
    """

    def record_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        begun, generator = start(*args, **kwargs)
        step = begun.taken_up()
        active: StepContext | None = step
        resume: Callable[..., Any] = generator.send
        given: Any = None
        try:
            while True:
                # Active only while the work itself runs, not while its consumer does.
                token = active_step.set(active)
                try:
                    item = resume(given)
                except StopIteration as stop:
                    result = stop.value
                    break
                finally:
                    active = active_step.get()
                    active_step.reset(token)
                try:
                    given = yield item
                    resume = generator.send
                except GeneratorExit:
                    token = active_step.set(active)
                    try:
                        generator.close()
                    finally:
                        active_step.reset(token)
                    raise
                except BaseException as thrown:
                    resume, given = generator.throw, thrown
        except BaseException as error:
            step._end(error)
            raise
        step._end(None)
        return result

    return record_generator


def async_generator_function(
    start: Callable[..., tuple[Unbegun, AsyncGenerator[Any, Any]]],
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """As `generator_function`, for asynchronous ones."""

    async def record_async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        begun, generator = start(*args, **kwargs)
        step = begun.taken_up()
        active: StepContext | None = step
        resume: Callable[[Any], Awaitable[Any]] = generator.asend
        given: Any = None
        stopped = False
        try:
            while True:
                token = active_step.set(active)
                try:
                    item = await resume(given)
                except StopAsyncIteration:
                    break
                finally:
                    active = active_step.get()
                    with contextlib.suppress(ValueError):  # closed from another context
                        active_step.reset(token)
                try:
                    given = yield item
                    resume = generator.asend
                except GeneratorExit:
                    await generator.aclose()
                    raise
                except BaseException as thrown:
                    # A closing event loop cancels the tasks that would close its generators.
                    stopped = isinstance(thrown, asyncio.CancelledError)
                    resume, given = generator.athrow, thrown
        except BaseException as error:
            step._end(GeneratorExit() if stopped and isinstance(error, asyncio.CancelledError) else error)
            raise
        step._end(None)

    return record_async_generator


def _is_future(kind: type) -> bool:
    """Whether it is a future or task of asyncio or concurrent.futures, or a class used like one."""
    return issubclass(kind, asyncio.Future | concurrent.futures.Future) or all(
        callable(getattr(kind, name, None))
        for name in ("add_done_callback", "cancelled", "done", "exception")
    )


def _follow_future(step: StepContext, future: Any) -> None:
    def settle(_future: object = None) -> None:
        try:
            error = _error_of(future)
        except Exception as fault:  # a future of another library
            error = fault
        step._end(error)

    try:
        if future.done():
            settle()
        else:
            future.add_done_callback(settle)
    except Exception as fault:  # not a future, then: returned to the caller unchanged
        let_through(fault)
        return
    step._goes_on = True


def _error_of(future: Any) -> BaseException | None:
    if future.cancelled():
        return asyncio.CancelledError()
    if isinstance(future, asyncio.Future):
        # Not by its method, which would suppress asyncio's warning about an exception never retrieved.
        error: BaseException | None = getattr(future, "_exception", None)
        return error
    found = future.exception()
    return found if isinstance(found, BaseException) else None
