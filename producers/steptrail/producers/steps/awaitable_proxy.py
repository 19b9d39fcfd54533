"""A proxy for an awaitable object: its step ends when it has been awaited."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from steptrail.producers.steps.deferred_work import Unbegun
    from steptrail.producers.steps.step_context import StepContext

_HEAP_TYPE: Final = 1 << 9
_get: Final = object.__getattribute__
_set: Final = object.__setattr__
_Recorded = Callable[["StepContext", Awaitable[Any]], Coroutine[Any, Any, Any]]


def can_stand_in(result: object) -> bool:
    """Whether it is awaitable and its class is written in Python: C code may access the internals of others."""
    return inspect.isawaitable(result) and bool(type(result).__flags__ & _HEAP_TYPE)


def stand_in(begun: Unbegun, awaitable: Any, recorded: _Recorded) -> Any:
    """A proxy that behaves as `awaitable`, also as an asynchronous context manager; `recorded` awaits it."""
    kind = type(awaitable)
    proxy = _proxies.get(kind)
    if proxy is None:
        passed_on = {name: _passed_on(name) for name in dir(kind) if _is_special(kind, name)}
        bases = (_AsyncContextProxy,) if hasattr(kind, "__aexit__") else (_Proxy,)
        proxy = _proxies[kind] = type(kind.__name__, bases, passed_on)
    return proxy(begun, awaitable, recorded)


class _Proxy:
    def __init__(self, begun: Unbegun, awaitable: Any, recorded: _Recorded) -> None:
        _set(self, "_steptrail", (begun, awaitable, recorded))

    def __await__(self) -> Generator[Any, Any, Any]:
        begun, awaitable, recorded = _get(self, "_steptrail")
        if begun.step is None:  # awaited again
            again: Generator[Any, Any, Any] = awaitable.__await__()
            return again
        work: Coroutine[Any, Any, Any] = recorded(begun.taken_up(), awaitable)
        return work.__await__()

    @property
    def __class__(self) -> Any:
        return type(_get(self, "_steptrail")[1])

    @__class__.setter
    def __class__(self, kind: type) -> None:
        _get(self, "_steptrail")[1].__class__ = kind

    def __getattribute__(self, name: str) -> Any:
        if name in ("__await__", "__aenter__", "__aexit__", "__class__"):
            return _get(self, name)
        return getattr(_get(self, "_steptrail")[1], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_get(self, "_steptrail")[1], name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_get(self, "_steptrail")[1], name)

    def __repr__(self) -> str:
        return repr(_get(self, "_steptrail")[1])

    def __str__(self) -> str:
        return str(_get(self, "_steptrail")[1])

    def __eq__(self, other: object) -> Any:
        return bool(_get(self, "_steptrail")[1] == other)

    def __hash__(self) -> int:
        return hash(_get(self, "_steptrail")[1])


class _AsyncContextProxy(_Proxy):
    def __init__(self, begun: Unbegun, awaitable: Any, recorded: _Recorded) -> None:
        super().__init__(begun, awaitable, recorded)
        _set(self, "_steptrail_step", None)

    async def __aenter__(self) -> Any:
        begun, awaitable, _ = _get(self, "_steptrail")
        if begun.step is None:
            return await awaitable.__aenter__()
        step = begun.taken_up()
        _set(self, "_steptrail_step", step)
        try:
            return await awaitable.__aenter__()
        except BaseException as error:
            step._end(error)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        step: StepContext | None = _get(self, "_steptrail_step")
        try:
            swallowed = await _get(self, "_steptrail")[1].__aexit__(kind, error, trace)
        except BaseException as fault:
            if step is not None:
                step._end(fault)
            raise
        if step is not None:
            step._end(None if swallowed else error)
        return swallowed


_NOT_PASSED_ON: Final = frozenset(
    {*dir(_AsyncContextProxy), "__class_getitem__", "__getattr__", "__del__", "__set_name__"}
)
_proxies: WeakKeyDictionary[type, type[_Proxy]] = WeakKeyDictionary()


def _is_special(kind: type, name: str) -> bool:
    return (
        name.startswith("__")
        and name.endswith("__")
        and name not in _NOT_PASSED_ON
        and callable(getattr(kind, name, None))
    )


def _passed_on(name: str) -> Callable[..., Any]:
    """A forwarded special method, which Python looks up in the class, not in the object."""

    def call(self: _Proxy, *args: Any, **kwargs: Any) -> Any:
        return getattr(_get(self, "_steptrail")[1], name)(*args, **kwargs)

    return call
