"""A piece of work as a step: times it and records how it ended."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection, Mapping
from contextvars import Token
from itertools import islice
from time import perf_counter_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from typing_extensions import Self

from steptrail.producers.arguments import check_doc_id, check_rest
from steptrail.producers.events.source import EventSource
from steptrail.producers.extraction import MAX_NAMES, bounded_copy
from steptrail.producers.handle import StepHandle
from steptrail.producers.log import LEVELS, log_step
from steptrail.producers.steps.active_step import active_step
from steptrail.producers.steps.decorator import decorated, name_of
from steptrail.producers.steps.endings import ExceptionTypes, meanings, status_of
from steptrail.producers.steps.exception_facts import (
    EXCEPTION_KEY,
    facts_of,
    message_of,
    plain_text,
    type_name,
)
from steptrail.producers.steps.thresholds import NO_THRESHOLDS, PASSED_KEY, Thresholds
from steptrail.schemas.foreign import is_foreign
from steptrail.schemas.status import ProcessingStatus

if TYPE_CHECKING:
    from steptrail.producers.manager import ProcessingStepManager

_Function = TypeVar("_Function", bound=Callable[..., Any])

SKIP_KEY = "skip_reason"
CLOSED_KEY = "closed_early"


class StepContext:
    """Returned by `ProcessingStepManager.step`, which documents it. One object records one run at a time; as a
    decorator it creates a new one for each call.
    """

    # On the class until a run begins, so that creating one costs less.
    _handle: StepHandle | None = None
    _goes_on = False  # True if the work continues after the decorated call
    _outcome: tuple[ProcessingStatus, object] | None = None
    _began_ns = 0
    _spent_ns = 0
    _ended = False
    _outer: Token[StepContext | None] | None = None

    def __init__(
        self,
        manager: ProcessingStepManager,
        doc_id: str | Callable[..., str],
        step_name: str | None,
        # Not keyword-only: CPython looks up the default of each such parameter in a dict.
        details: Mapping[str, Any] | None = None,
        depends_on: Collection[str] | str | None = None,
        warn_after_ms: float | None = None,
        thresholds: Mapping[str, float] | None = None,
        fatal: ExceptionTypes = (),
        error_on: ExceptionTypes = (),
        skip_on: ExceptionTypes = (),
        traceback: bool | None = None,
    ) -> None:
        if type(doc_id) is not str and not callable(doc_id):
            check_doc_id(doc_id)
        if step_name is not None and not isinstance(step_name, str):
            raise TypeError(f"step_name must be a str, not {type(step_name).__qualname__}")
        if details is not None and not isinstance(details, Mapping):
            raise TypeError(f"details must be a mapping or None, not {type(details).__qualname__}")
        self._manager = manager
        self._doc_id = doc_id
        self._step_name = step_name
        self._initial = {} if details is None else bounded_copy(details)
        if depends_on is not None:
            depends_on = [depends_on] if isinstance(depends_on, str) else depends_on
            check_rest(None, None, None, None, depends_on, None)
            self._initial["depends_on"] = list(islice(depends_on, MAX_NAMES + 1))
        self._thresholds = (
            NO_THRESHOLDS
            if warn_after_ms is None and thresholds is None
            else Thresholds.of(warn_after_ms, thresholds)
        )
        self._meanings = manager._meanings
        if fatal != () or error_on != () or skip_on != ():
            self._meanings = meanings(fatal, error_on, skip_on, self._meanings)
        self._traceback = manager._traceback if traceback is None else bool(traceback)
        self.details: dict[str, Any] = {**self._initial}
        """Results of the step, for its ending."""
        self.metrics: dict[str, Any] = {}
        """Numbers about the step, for its ending; `duration_ms` is measured if it is not set here."""

    @property
    def doc_id(self) -> str:
        """The document's id."""
        if callable(self._doc_id):
            raise TypeError("doc_id is a callable, which only a decorated function can use")
        return self._doc_id

    @property
    def step_name(self) -> str:
        """The step's name."""
        if self._step_name is None:
            raise TypeError("step_name is missing; only a decorated function gives its own")
        return self._step_name

    @property
    def handle(self) -> StepHandle:
        """This run's handle, valid in other processes too; available only within the step."""
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
        """Record progress: RUNNING again with these details and metrics, for the same run."""
        handle = self.handle
        self._manager.add_step(
            handle.doc_id, handle.step_name, ProcessingStatus.RUNNING, details, metrics, execution=handle
        )

    def skip(self, reason: str | BaseException | None = None) -> None:
        """End as SKIPPED, with the reason in details as `skip_reason`; an exception raised later still counts."""
        self._outcome = (ProcessingStatus.SKIPPED, reason)

    def warn(self, message: str | BaseException | None = None) -> None:
        """End as WARNING, with this message or an exception's; an exception raised later still counts."""
        self._outcome = (ProcessingStatus.WARNING, message)

    def fail(self, message: str | BaseException, *, final: bool = True) -> None:
        """End as FAILED without raising, or as ERROR, which can be retried, when it is not `final`.

        The message may be an exception: its type and causes are recorded as if it had been raised.
        """
        self._outcome = (ProcessingStatus.FAILED if final else ProcessingStatus.ERROR, message)

    # --- with, async with --------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._outer is not None:
            raise RuntimeError(f"step {self.step_name!r} already runs; make another by manager.step(…)")
        given, step_name = self._doc_id, self._step_name
        if isinstance(given, str) and step_name is not None:
            doc_id = given
        else:
            doc_id, step_name = self.doc_id, self.step_name
        self.details = {**self._initial}
        self.metrics = {}
        self._outcome = None
        if self._began_ns:  # used before
            self._ended = self._goes_on = False
            self._handle = None
        outer = active_step.get()
        try:
            self._handle = self._manager._emit(
                doc_id, step_name, ProcessingStatus.RUNNING, None, self._initial or None
            )
            self._outer = active_step.set(self)
            self._began_ns = perf_counter_ns()
        except BaseException as error:
            if is_foreign(error):  # `with` is not entered, so `__exit__` never runs: end what may have begun
                self._outer = None
                active_step.set(outer)
                self._began_ns = perf_counter_ns()
                self._end(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            now_ns = perf_counter_ns()
            self._leave()
            if self._goes_on and error is None:
                self._spent_ns = now_ns - self._began_ns
            else:
                self._end(error, now_ns)
        except BaseException as raised:
            if is_foreign(raised):  # a time limit raised in the middle of this
                self._leave()
                if not self._has_ended():
                    self._ended = False
                    self._end(raised if self._goes_on else error)
            raise

    def _has_ended(self) -> bool:
        storage = self._manager.storage
        if self._handle is None or not isinstance(storage, EventSource):
            return True  # as far as anybody knows
        return storage.has_ended(self._handle)

    def _leave(self) -> None:
        """Restore the outer step as the active one; can be repeated after an interruption."""
        outer = self._outer
        if outer is not None:
            try:
                active_step.reset(outer)
            except ValueError:
                # Exited in a different context than it was entered in, as frameworks do with generators.
                active_step.set(outer.old_value if outer.old_value is not Token.MISSING else None)
            except RuntimeError:  # done before the interruption
                pass
            self._outer = None

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    # --- its ending, also after the call that began it -----------------------------------------------

    def _go_on(self) -> None:
        """Resume the work and its timer."""
        self._goes_on = False
        self._began_ns = perf_counter_ns() - self._spent_ns

    def _abandon(self, reason: str) -> None:
        """End a step whose work was never resumed."""
        if self._outcome is None:
            self.skip(reason)
        self._go_on()
        self._end(None)

    def _end(self, error: BaseException | None, now_ns: int | None = None) -> None:
        """Record the ending once, of work that returned or raised `error`. No value given to the step prevents it."""
        if self._ended:
            return
        self._ended = True
        measured_ms = ((perf_counter_ns() if now_ns is None else now_ns) - self._began_ns) / 1e6
        status, details, metrics = ProcessingStatus.SUCCESS, self.details, self.metrics
        message = error_type = duration_ms = None
        try:
            if type(metrics) is not dict or len(metrics) > _FEW:
                metrics = _as_dict(metrics, "metrics")
            if "duration_ms" not in metrics:
                metrics = {**metrics, "duration_ms": measured_ms}
                duration_ms = measured_ms
            if type(details) is not dict:
                details = _as_dict(details, "details")
            if error is not None or self._outcome is not None:
                details = bounded_copy(details)
                status, message, error_type = self._told(error, details)
            bounds = self._thresholds
            if (
                bounds.bounds
                and (error is None or status in _NO_FAULT)
                and (passed := bounds.passed(metrics))
            ):
                details = {**bounded_copy(details), PASSED_KEY: passed}
                if status is ProcessingStatus.SUCCESS:
                    status = ProcessingStatus.WARNING
        except BaseException as fault:
            details, metrics = {}, {"duration_ms": measured_ms}
            if error is not None:
                status = ProcessingStatus.ERROR
                message = error_type = type_name(type(error))
            elif self._outcome is not None:
                status = self._outcome[0]
            if is_foreign(fault):  # a time limit's: raise it on
                self._record(status, details, metrics, message, error_type)
                raise
        self._record(status, details, metrics, message, error_type, duration_ms)

    def _told(
        self, error: BaseException | None, details: dict[str, Any]
    ) -> tuple[ProcessingStatus, str | None, str | None]:
        """Status, message and error type from the exception or `skip`, `warn`, `fail`; the rest goes to the details."""
        status, said = self._outcome or (ProcessingStatus.SUCCESS, None)
        if error is not None:
            meant = status_of(error, self._meanings)
            if meant is ProcessingStatus.SUCCESS:
                if isinstance(error, GeneratorExit):
                    details.setdefault(CLOSED_KEY, True)
            elif meant is not ProcessingStatus.SKIPPED or status not in _FAULTS:
                status, said = meant, error
        error_type: str | None = None
        message: str | None = None
        if isinstance(said, BaseException):
            error_type, message = type_name(type(said)), message_of(said)
            if facts := facts_of(said, traceback=self._traceback and status is not ProcessingStatus.SKIPPED):
                details.setdefault(EXCEPTION_KEY, facts)
        elif isinstance(said, type) and issubclass(said, BaseException):
            error_type = type_name(said)
        elif said is not None:
            message = plain_text(said)
        if status is ProcessingStatus.SKIPPED and said is not None:
            details[SKIP_KEY] = message or error_type
            if error_type is None:  # a reason is not an error
                message = None
        return status, message, error_type

    def _record(
        self,
        status: ProcessingStatus,
        details: dict[str, Any],
        metrics: dict[str, Any],
        message: str | None,
        error_type: str | None,
        duration_ms: float | None = None,
    ) -> None:
        manager = self._manager
        if self._handle is None:
            execution_id, attempt, doc_id, step_name = None, None, self.doc_id, self.step_name
        else:
            _, execution_id, attempt, doc_id, step_name = self._handle
        # As add_step, without its checks.
        emitted = manager._emit(
            doc_id,
            step_name,
            status,
            None,
            details or None,
            metrics,
            message,
            error_type,
            execution_id,
            attempt,
            duration_ms,
        )
        if status in LEVELS:
            log_step(manager.pipeline, doc_id, step_name, status, message, emitted)

    # --- decorator -----------------------------------------------------------------------------------

    def __call__(self, function: _Function) -> _Function:
        """Record each call of a function, or of any other callable, as a run of this step.

        The run ends when the work does, also for a coroutine, a generator or a future that a call returns.
        Raises TypeError for a non-callable.
        """

        def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> StepContext:
            return self._for_call(function, args, kwargs)

        return cast("_Function", decorated(function, begin))

    def _for_call(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> StepContext:
        doc_id = self._doc_id(*args, **kwargs) if callable(self._doc_id) else self._doc_id
        name = self._step_name if self._step_name is not None else name_of(function)
        if type(doc_id) is not str:
            check_doc_id(doc_id)
        # Already checked: no need to check again.
        call = object.__new__(type(self))
        call.__dict__.update(self.__dict__)
        call._doc_id, call._step_name, call._outer, call._handle = doc_id, name, None, None
        return call

    def __reduce__(self) -> NoReturn:
        raise pickle.PicklingError(
            "a step lives in the process where it was made; pass on its handle (step.handle.to_dict()), and record"
            " by add_step(execution=StepHandle.from_dict(…))"
        )


_FEW = 1000  # metrics that are copied without counting them
_NO_FAULT = (ProcessingStatus.SUCCESS, ProcessingStatus.WARNING)
_FAULTS = (ProcessingStatus.ERROR, ProcessingStatus.FAILED)


def _as_dict(value: Any, name: str) -> dict[str, Any]:
    """A copy as a dict, whatever object the mapping was replaced by."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return bounded_copy(value)
    return {name: value}
