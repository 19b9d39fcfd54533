"""Decorates functions of every kind so that their calls are steps."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any

from steptrail.producers.steps.deferred_work import (
    Unbegun,
    async_generator_function,
    follow,
    generator_function,
)
from steptrail.schemas.foreign import let_through

if TYPE_CHECKING:
    from steptrail.producers.steps.step_context import StepContext

Begin = Callable[[tuple[Any, ...], "dict[str, Any]"], "StepContext"]
"""Given a call's arguments, the step that records it."""


def decorated(function: Any, begin: Begin) -> Any:
    """Wrap `function` in a callable of the same kind that records each call; raises TypeError for a non-callable."""
    if isinstance(function, staticmethod | classmethod):
        return type(function)(decorated(function.__func__, begin))
    if not callable(function):
        raise TypeError(
            f"step() decorates functions and other callables, not {type(function).__qualname__};"
            " it is written @manager.step(doc_id) or @manager.step(lambda …: doc_id)"
        )

    call: Callable[..., Any] = function
    recording: Callable[..., Any]
    if _is(inspect.iscoroutinefunction, function):

        async def record_coroutine(*args: Any, **kwargs: Any) -> Any:
            with begin(args, kwargs) as step:
                return follow(step, await call(*args, **kwargs))

        recording = record_coroutine
    elif _is(inspect.isgeneratorfunction, function) and not _is(_is_generator_coroutine, function):

        def start(*args: Any, **kwargs: Any) -> tuple[Unbegun, Generator[Any, Any, Any]]:
            return _started(begin(args, kwargs), function, args, kwargs)

        recording = generator_function(start)
    elif _is(inspect.isasyncgenfunction, function):

        def start_async(*args: Any, **kwargs: Any) -> tuple[Unbegun, AsyncGenerator[Any, Any]]:
            return _started(begin(args, kwargs), function, args, kwargs)

        recording = async_generator_function(start_async)
    else:

        def record(*args: Any, **kwargs: Any) -> Any:
            with begin(args, kwargs) as step:
                return follow(step, function(*args, **kwargs))

        recording = record
    with contextlib.suppress(Exception):  # an object whose attributes raise
        functools.update_wrapper(recording, function)
    name = name_of(function)
    if recording.__name__ != name:
        recording.__name__ = recording.__qualname__ = name
    return recording


def name_of(function: Any) -> str:
    """The callable's name; for a partial, its function's; for an object, its class's."""
    while isinstance(function, functools.partial | functools.partialmethod):
        function = function.func
    try:
        name = function.__name__
    except Exception as fault:
        let_through(fault)
        name = None
    return name if isinstance(name, str) else type(function).__name__


def _started(
    step: StepContext, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Unbegun, Any]:
    with step:
        generator = function(*args, **kwargs)
        step._goes_on = True
    return Unbegun(step, "its generator was never iterated"), generator


def _is(kind: Callable[[Any], bool], function: Any) -> bool:
    """Whether the function, or an object's `__call__`, is of this kind."""
    while isinstance(function, functools.partial):
        function = function.func
    try:
        return kind(function) or (not isinstance(function, type) and kind(type(function).__call__))
    except Exception as fault:  # an object whose attributes raise
        let_through(fault)
        return False


def _is_generator_coroutine(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & inspect.CO_ITERABLE_COROUTINE)
