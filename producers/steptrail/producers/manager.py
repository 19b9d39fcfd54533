"""ProcessingStepManager: the interface with which pipelines record and read processing steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any

from typing_extensions import Self

from steptrail.producers.arguments import as_status, as_statuses, check_doc_id, check_time, check_timeout
from steptrail.producers.handle import StepHandle
from steptrail.producers.log import LEVELS, log_step
from steptrail.producers.steps.endings import ExceptionTypes, meanings
from steptrail.producers.steps.step_context import StepContext
from steptrail.producers.storage import Storage
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.step import ProcessingStep, RecentError


class ProcessingStepManager:
    """Records the steps of documents in a storage, and reads them back.

    `storage_backend` is any Storage: `steptrail.projections.open_storage()`, `emit_only()` for a worker that
    never reads, `InMemoryStorage()` in tests. The manager has the storage's pipeline. Safe for threads; no
    method that records ever waits, so it can be called from a coroutine.

    `fatal`, `error_on` and `skip_on` name exceptions that end any `step` of this manager as FAILED, ERROR or
    SKIPPED; `traceback` keeps the tracebacks of errors. `step` explains them, and can override them.

    A manager can be pickled if its storage can. It reopens where it is unpickled, with the same settings, including
    passwords; copies unpickled in one process share one emitter. A copy by `copy` is the manager itself.
    """

    def __init__(
        self,
        storage_backend: Storage,
        *,
        fatal: ExceptionTypes = (),
        error_on: ExceptionTypes = (),
        skip_on: ExceptionTypes = (),
        traceback: bool = False,
    ) -> None:
        if not isinstance(storage_backend, Storage):
            raise TypeError(
                f"storage_backend must be a Storage, not {type(storage_backend).__qualname__};"
                " for instance steptrail.projections.open_storage()"
            )
        self.storage = storage_backend
        self._emit = storage_backend.emit
        self._meanings = meanings(fatal, error_on, skip_on, {})
        self._traceback = bool(traceback)

    @property
    def pipeline(self) -> str:
        """The pipeline that steps are recorded for."""
        return self.storage.pipeline

    def add_step(
        self,
        doc_id: str,
        step_name: str,
        status: ProcessingStatus | str,
        details: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        error_message: str | None = None,
        timestamp: datetime | None = None,
        *,
        error_type: str | None = None,
        execution: StepHandle | None = None,
        progress: bool = False,
    ) -> StepHandle:
        """Record that a step of a document has reached a status.

        `details` are the step's results and `metrics` its numbers (`duration_ms` in milliseconds; measured when
        absent); `timestamp` is an aware datetime, by default now. `retry_count` in details numbers the attempt;
        `depends_on` names the steps that this one needs. `execution` is the handle of a run that began elsewhere;
        without it the run is found from earlier events. Returns the run's handle.

        RUNNING after RUNNING begins another run, unless `execution` names the same run or `progress` is set, which
        reports progress of the current run; the duration is measured from the run's first RUNNING. Other statuses are
        never progress.

        Raises TypeError or ValueError, naming the argument, for a wrong type, an unknown status or a naive time. Never
        raises for a strange value or a failing infrastructure, and never waits.
        """
        if type(status) is not ProcessingStatus:
            status = as_status(status)
        execution_id = attempt = None
        if execution is not None:
            if not isinstance(execution, StepHandle):
                raise TypeError(f"execution must be a StepHandle or None, not {type(execution).__qualname__}")
            if execution.doc_id != doc_id or execution.step_name != step_name:
                raise ValueError(
                    f"execution is a run of step {execution.step_name!r} of document {execution.doc_id!r},"
                    f" not of {step_name!r} of {doc_id!r}"
                )
            execution_id, attempt = execution.execution_id, execution.attempt
        # All arguments by position: keywords and defaults would cost a twentieth of an event.
        emitted = self._emit(
            doc_id,
            step_name,
            status,
            timestamp,
            details,
            metrics,
            error_message,
            error_type,
            execution_id,
            attempt,
            None,
            None,
            None,
            progress,
        )
        if status in LEVELS:
            log_step(self.pipeline, doc_id, step_name, status, error_message, emitted)
        return emitted

    def step(
        self,
        doc_id: str | Callable[..., str],
        step_name: str | None = None,
        *,
        details: Mapping[str, Any] | None = None,
        depends_on: Collection[str] | str | None = None,
        warn_after_ms: float | None = None,
        thresholds: Mapping[str, float] | None = None,
        fatal: ExceptionTypes = (),
        error_on: ExceptionTypes = (),
        skip_on: ExceptionTypes = (),
        traceback: bool | None = None,
    ) -> StepContext:
        """Record and time a piece of work as a step: RUNNING when it begins, its ending when it ends.

        As a context manager, `with` or `async with`: `with manager.step(doc_id, "ocr") as s: …`; there `s`
        takes results (`s.details["pages"] = 3`, `s.metric("memory_mb", 80)`) and can `s.skip("a reason")`.
        As a decorator `doc_id` may be a callable that takes the function's arguments and gives the id, and
        `step_name` is the function's name by default. The step ends when the work does: also that of a
        coroutine, a generator or a future that the function returns.

        An exception is recorded and re-raised: as FAILED when it is one of `fatal`, as SKIPPED when it is one of
        `skip_on` or a cancellation, otherwise, or when it is one of `error_on`, as ERROR; the nearest class decides.
        `sys.exit(0)` and a generator that is closed early are not errors. The causes of an exception and the members of
        a group are kept in details under `exception`; with `traceback`, so is its traceback.

        The ending is WARNING instead of SUCCESS when the step took longer than `warn_after_ms` milliseconds or a metric
        exceeds its bound in `thresholds`; details then list them under `thresholds_passed`. `details` are recorded with
        RUNNING and merged into the ending's.

        Raises TypeError or ValueError, naming the argument, for wrong types.
        """
        if (
            details is None
            and depends_on is None
            and warn_after_ms is None
            and thresholds is None
            and traceback is None
            and fatal == error_on == skip_on == ()
        ):
            return StepContext(self, doc_id, step_name)  # no keyword arguments: they cost a tenth of a step
        return StepContext(
            self,
            doc_id,
            step_name,
            details=details,
            depends_on=depends_on,
            warn_after_ms=warn_after_ms,
            thresholds=thresholds,
            fatal=fatal,
            error_on=error_on,
            skip_on=skip_on,
            traceback=traceback,
        )

    def get_steps(
        self,
        doc_id: str,
        status: ProcessingStatus | str | Collection[ProcessingStatus | str] | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        *,
        include_observed: bool = False,
    ) -> list[ProcessingStep]:
        """Return everything recorded for a document, ordered by timestamp; `[]` for an unknown document.

        `status` is one or several, None for all; `start_time` is inclusive, `end_time` exclusive, both aware.
        `include_observed` adds consumers' observations of the document, each an `ObservedStep` whose `observed` is
        "STALLED" or "RETRACTED".
        Raises TypeError or ValueError naming the argument, and the storage's error when it cannot read.
        """
        return self.storage.get_steps(
            check_doc_id(doc_id),
            statuses=as_statuses(status),
            start_time=None if start_time is None else check_time("start_time", start_time),
            end_time=None if end_time is None else check_time("end_time", end_time),
            include_observed=bool(include_observed),
        )

    def get_recent_errors(
        self, since: datetime, include_warnings: bool = False, *, include_observed: bool = False
    ) -> list[RecentError]:
        """Return ERROR and FAILED steps of all documents at or after `since`, newest first; optionally WARNING too.

        `include_observed` adds the executions that are stalled now and were found stalled at or after `since`, each an
        `ObservedError`.
        """
        return self.storage.get_recent_errors(
            check_time("since", since),
            include_warnings=bool(include_warnings),
            include_observed=bool(include_observed),
        )

    def flush(self, timeout: float = 10.0) -> int:
        """Wait up to `timeout` seconds for delivery; returns how many steps are still not delivered."""
        return self.storage.flush(check_timeout(timeout))

    def wait_projected(self, timeout: float = 10.0) -> bool:
        """Wait up to `timeout` seconds until reads show what was delivered: read your own writes after `flush`."""
        return self.storage.wait_projected(check_timeout(timeout))

    def close(self, timeout: float = 2.0) -> None:
        """Deliver what is pending for up to `timeout` seconds, and release all resources."""
        self.storage.close(check_timeout(timeout))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
