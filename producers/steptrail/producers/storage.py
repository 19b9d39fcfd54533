"""The Storage protocol that ProcessingStepManager uses, and the types it exchanges."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from steptrail.producers.handle import StepHandle
from steptrail.schemas.errors import SteptrailError
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.step import ProcessingStep, RecentError

Emitted = StepHandle
"""What `Storage.emit` gives back."""


class NotReadableError(SteptrailError):
    """This storage only emits; to read, open one that is connected to ClickHouse (steptrail.projections)."""


@runtime_checkable
class Storage(Protocol):
    """Records the steps of one pipeline and reads them back.

    Invariants, which every implementation keeps and `tests/support/storage_contract.py` checks:

    1.  `emit` never waits for a network or a disk, and never raises when the infrastructure fails.
        It raises TypeError or ValueError, naming the argument, for a wrong type, an unknown status or a
        naive time, before anything was recorded.
    2.  A strange *value* never raises: it is stored normalised and marked in `details["_steptrail"]`.
    3.  One event is one step read back: with the values that it was given, its `details` as they were, its
        `metadata` as `metadata_of` (steptrail.producers.events.readback) lays it out.
    4.  `get_steps` returns events, not states, ordered by timestamp and, for equal ones, by the order of emission.
        `start_time` is inclusive, `end_time` exclusive. A document without events gives an empty list. An event
        emitted with an older timestamp is sorted into its place.
    5.  `get_recent_errors` covers all documents of the pipeline: ERROR and FAILED (and WARNING, when
        asked) at or after `since`, newest first.
    6.  An event without ids gets them from earlier events of the same step of the same document
        (steptrail.producers.events.executions). Ids that are given are kept.
    7.  After `flush(…) == 0` and `wait_projected(…) is True`, reads show every event that this storage had
        accepted before and that was not lost. Losses are counted, never silent.
    8.  Safe for threads, under asyncio, and in forked children.
    9.  `close` may be called twice. Events emitted after it are rejected and counted; `emit` does not raise.
    10. Consumers' observations are returned only with `include_observed`: among a document's events each observation
        is an ObservedStep at the time that it is about, among recent errors each execution that is stalled now is an
        ObservedError. An ending, or a later execution of the step, ends a stall at once.
    """

    @property
    def pipeline(self) -> str:
        """The pipeline whose steps these are."""
        ...

    def emit(
        self,
        doc_id: str,
        step_name: str,
        status: ProcessingStatus,
        timestamp: datetime | None = None,
        details: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        error_message: str | None = None,
        error_type: str | None = None,
        execution_id: bytes | None = None,
        attempt: int | None = None,
        duration_ms: float | None = None,
        depends_on: Collection[str] | None = None,
        trace_id: str | None = None,
        progress: bool = False,
    ) -> Emitted:
        """Take one event; `timestamp` (aware) is now by default, `duration_ms` milliseconds.

        With `progress`, RUNNING belongs to the current run; if none is known, it begins one.
        """
        ...

    def get_steps(
        self,
        doc_id: str,
        *,
        statuses: Collection[ProcessingStatus] | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        include_observed: bool = False,
    ) -> list[ProcessingStep]:
        """The events of one document, of these statuses (None: all), with `start_time` <= time < `end_time`."""
        ...

    def get_recent_errors(
        self,
        since: datetime,
        *,
        include_warnings: bool = False,
        limit: int | None = None,
        include_observed: bool = False,
    ) -> list[RecentError]:
        """The newest errors at or after `since`, at most `limit` of them."""
        ...

    def flush(self, timeout: float) -> int:
        """Wait up to `timeout` seconds for deliveries; returns how many events are still pending."""
        ...

    def wait_projected(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until reads show what was delivered; returns False if they do not yet."""
        ...

    def close(self, timeout: float = 2.0) -> None:
        """Deliver what can be delivered within `timeout` seconds and release all resources."""
        ...
