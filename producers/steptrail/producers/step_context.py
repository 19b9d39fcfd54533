"""A piece of work as a step: it times itself and records how it ended."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar, Token
from time import perf_counter_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from typing_extensions import Self

from steptrail.producers.arguments import check_doc_id, check_rest
from steptrail.producers.handle import StepHandle
from steptrail.producers.thresholds import PASSED_KEY, Thresholds
from steptrail.schemas.status import ProcessingStatus

if TYPE_CHECKING:
    from steptrail.producers.manager import ProcessingStepManager

_Function = TypeVar("_Function", bound=Callable[..., Any])

_active: ContextVar[StepContext | None] = ContextVar("steptrail_active_step", default=None)


def current_step() -> StepContext | None:
    """The innermost step that runs here, in this thread or task; None outside of any."""
    return _active.get()


class StepContext:
    """Made by `ProcessingStepManager.step`, which tells what it does. One object records one run at a time;
    as a decorator it makes a new one for each call.
    """

    def __init__(
        self,
        manager: ProcessingStepManager,
        doc_id: str | Callable[..., str],
        step_name: str | None,
        *,
        details: Mapping[str, Any] | None = None,
        depends_on: Collection[str] | str | None = None,
        warn_after_ms: float | None = None,
        thresholds: Mapping[str, float] | None = None,
        fatal: type[BaseException] | tuple[type[BaseException], ...] = (),
    ) -> None:
        if not callable(doc_id):
            check_doc_id(doc_id)
        if step_name is not None and not isinstance(step_name, str):
            raise TypeError(f"step_name must be a str, not {type(step_name).__qualname__}")
        if details is not None and not isinstance(details, Mapping):
            raise TypeError(f"details must be a mapping or None, not {type(details).__qualname__}")
        depends_on = [depends_on] if isinstance(depends_on, str) else depends_on
        check_rest(None, None, None, None, depends_on, None)
        self._manager = manager
        self._doc_id = doc_id
        self._step_name = step_name
        self._initial = dict(details or {})
        if depends_on is not None:
            self._initial["depends_on"] = list(depends_on)
        self._thresholds = Thresholds.of(warn_after_ms, thresholds)
        self._fatal = _exception_types(fatal)
        self.details: dict[str, Any] = dict(self._initial)
        """Results of the step, for its ending."""
        self.metrics: dict[str, Any] = {}
        """Numbers about the step, for its ending; `duration_ms` is measured if it is not set here."""
        self._handle: StepHandle | None = None
        self._outcome: tuple[ProcessingStatus, str | None] | None = None
        self._began_ns = 0
        self._outer: Token[StepContext | None] | None = None

    @property
    def doc_id(self) -> str:
        """The document."""
        if callable(self._doc_id):
            raise TypeError("doc_id is a callable, which only a decorated function can use")
        return self._doc_id

    @property
    def step_name(self) -> str:
        """The step."""
        if self._step_name is None:
            raise TypeError("step_name is missing; only a decorated function gives its own")
        return self._step_name

    @property
    def handle(self) -> StepHandle:
        """Names this run, also to other processes; only within the step."""
        if self._handle is None:
            raise RuntimeError("the step has not begun: its handle is there within `with`")
        return self._handle

    @property
    def attempt(self) -> int:
        """1 for the first run of this step of this document."""
        return self.handle.attempt

    def metric(self, name: str, value: float) -> None:
        """Set one metric."""
        self.metrics[name] = value

    def progress(
        self, details: Mapping[str, Any] | None = None, metrics: Mapping[str, Any] | None = None
    ) -> None:
        """Record how far the run is: RUNNING once more, with these details and metrics; it stays one run."""
        handle = self.handle
        self._manager.add_step(
            handle.doc_id, handle.step_name, ProcessingStatus.RUNNING, details, metrics, execution=handle
        )

    def skip(self, reason: str | None = None) -> None:
        """End as SKIPPED, with the reason in details as `skip_reason`; an exception still counts as one."""
        if reason is not None:
            self.details["skip_reason"] = reason
        self._outcome = (ProcessingStatus.SKIPPED, None)

    def warn(self, message: str | None = None) -> None:
        """End as WARNING, with this message; an exception still counts as one."""
        self._outcome = (ProcessingStatus.WARNING, message)

    def fail(self, message: str, *, final: bool = True) -> None:
        """End as FAILED without an exception, or as ERROR, which can be retried, when it is not `final`."""
        self._outcome = (ProcessingStatus.FAILED if final else ProcessingStatus.ERROR, message)

    # --- with, async with --------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._outer is not None:
            raise RuntimeError(f"step {self.step_name!r} already runs; make another by manager.step(…)")
        doc_id, step_name = self.doc_id, self.step_name
        self.details = dict(self._initial)
        self.metrics = {}
        self._outcome = None
        self._handle = self._manager.add_step(
            doc_id, step_name, ProcessingStatus.RUNNING, self._initial or None
        )
        self._outer = _active.set(self)
        self._began_ns = perf_counter_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        measured_ms = (perf_counter_ns() - self._began_ns) / 1e6
        self._leave()
        metrics = dict(self.metrics)
        metrics.setdefault("duration_ms", measured_ms)
        details = dict(self.details)
        error_type: str | None = None
        if error is not None:
            status = ProcessingStatus.FAILED if isinstance(error, self._fatal) else ProcessingStatus.ERROR
            message: str | None = _text_of(error)
            error_type = _qualified_name(type(error))
        else:
            status, message = self._outcome or (ProcessingStatus.SUCCESS, None)
            if passed := self._thresholds.passed(metrics):
                details[PASSED_KEY] = passed
                if status is ProcessingStatus.SUCCESS:
                    status = ProcessingStatus.WARNING
        self._manager.add_step(
            self.doc_id,
            self.step_name,
            status,
            details,
            metrics,
            message,
            error_type=error_type,
            execution=self._handle,
        )

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _leave(self) -> None:
        outer, self._outer = self._outer, None
        if outer is not None:
            try:
                _active.reset(outer)
            except ValueError:
                # Left in another context than it was entered in, as a framework may do with a generator.
                _active.set(outer.old_value if outer.old_value is not Token.MISSING else None)

    # --- decorator -----------------------------------------------------------------------------------

    def __call__(self, function: _Function) -> _Function:
        """Record each call of a function, or of a coroutine function, as a run of this step."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__} is a generator, whose work is done outside of its call;"
                " use `with manager.step(…)` inside of it"
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def recorded_coroutine(*args: Any, **kwargs: Any) -> Any:
                with self._for_call(function, args, kwargs):
                    return await function(*args, **kwargs)

            return cast("_Function", recorded_coroutine)

        @functools.wraps(function)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            with self._for_call(function, args, kwargs):
                return function(*args, **kwargs)

        return cast("_Function", recorded)

    def _for_call(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> StepContext:
        doc_id = self._doc_id(*args, **kwargs) if callable(self._doc_id) else self._doc_id
        name = self._step_name if self._step_name is not None else function.__name__
        call = StepContext(self._manager, doc_id, name, details=self._initial, fatal=self._fatal)
        call._thresholds = self._thresholds
        return call


def _exception_types(fatal: object) -> tuple[type[BaseException], ...]:
    types: list[type[BaseException]] = []
    for kind in fatal if isinstance(fatal, tuple) else (fatal,):
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise TypeError(f"fatal must be an exception type or a tuple of them, not {kind!r}")
        types.append(kind)
    return tuple(types)


def _qualified_name(kind: type[BaseException]) -> str:
    """`module.Class`, and only `Class` for Python's own."""
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _text_of(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # a faulty __str__ must not replace the error itself
        text = ""
    if not text and isinstance(error, asyncio.CancelledError):
        return "cancelled"
    if not text and isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return text
