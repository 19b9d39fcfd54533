"""The emitter: takes a step's events and brings them to Kafka, at almost no cost to who calls."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any

from typing_extensions import Self

from steptrail.schemas.ids import new_emitter_id
from steptrail.schemas.settings import Settings
from steptrail.schemas.status import ProcessingStatus

from . import inheritance
from .accounting import Accounting
from .arguments import as_status, check_event, check_rest, check_timeout
from .composer import Composer
from .executions import OpenExecutions
from .storage import Emitted
from .transport import RELIEF_EVERY, Transport

_NO_ID = b"\0" * 16


class StepEmitter:
    """Emits events of one pipeline. Never blocks, never raises for a fault of the infrastructure, holds a
    bounded number of events, and counts what became of each (`accounting`).

    `settings` are taken from the environment when not given; `pipeline` and any further argument override one
    of them (`StepEmitter(kafka="broker:9092", linger_ms=5)`); raises ConfigurationError when one is wrong.

    Nothing is opened before the first event. Safe for threads, under asyncio (nothing waits) and in forked
    children, where an emitter goes on with an id and counts of its own. When the process exits by its own
    means, what is pending is delivered for up to `exit_flush_s` seconds.
    """

    def __init__(
        self, settings: Settings | None = None, *, pipeline: str | None = None, **overrides: Any
    ) -> None:
        if pipeline is not None:
            overrides["pipeline"] = pipeline
        if settings is None:
            settings = Settings(**overrides)
        elif overrides:
            settings = settings.with_values(**overrides)
        self.settings = settings
        self.exit_flush_s = settings.exit_flush_s
        self._executions = OpenExecutions()
        self._closed = False
        self._begin()
        inheritance.enroll(self)

    def _begin(self) -> None:
        self.emitter_id = new_emitter_id()
        """8 random bytes: this emitter in this process."""
        composer = Composer(self.settings, self.emitter_id, self._executions)
        self._compose = composer.compose
        self._transport = Transport(self.settings)

    @property
    def pipeline(self) -> str:
        """The pipeline whose events these are."""
        return self.settings.pipeline

    @property
    def topic(self) -> str:
        """The topic that events go to."""
        return self._transport.topic

    def emit(
        self,
        *,
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
    ) -> Emitted:
        """Take one event; what each argument means is told at `Storage`.

        Raises TypeError or ValueError naming the argument for a wrong type, an unknown status or a naive
        `timestamp`, and nothing else, whatever happens to the event.
        """
        if type(status) is not ProcessingStatus:
            status = as_status(status)
        check_event(doc_id, step_name, timestamp, details, metrics, error_message)
        if (
            error_type is not None
            or execution_id is not None
            or attempt is not None
            or duration_ms is not None
            or depends_on is not None
            or trace_id is not None
        ):
            check_rest(error_type, execution_id, attempt, duration_ms, depends_on, trace_id)

        # From here on a call more or less is felt by every step of every worker.
        transport = self._transport
        sequence = transport.accept()
        try:
            key, value, emitted = self._compose(
                sequence,
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
                duration_ms,
                depends_on,
                trace_id,
            )
        except Exception as error:
            transport.not_encoded(error)
            return Emitted(_NO_ID, execution_id or _NO_ID, attempt or 1)
        try:
            transport.produce(transport.topic, value, key, -1, transport.on_report)
        except Exception as error:
            transport.not_sent(error)
        if not sequence % RELIEF_EVERY:
            transport.relieve()
        return emitted

    def flush(self, timeout: float) -> int:
        """Wait up to `timeout` seconds for deliveries; how many events are still pending."""
        return self._transport.flush(check_timeout(timeout))

    def close(self, timeout: float = 2.0) -> None:
        """Deliver for up to `timeout` seconds, count what is left as failed, and let go of everything."""
        check_timeout(timeout)
        if not self._closed:
            self._closed = True
            self._transport.close(timeout)

    def accounting(self) -> Accounting:
        """What became of every event that this emitter took in this process."""
        return self._transport.counters.snapshot()

    def delivered_offsets(self) -> dict[int, int]:
        """Partition -> highest offset that the broker confirmed for an event of this emitter."""
        counters = self._transport.counters
        with counters.lock:
            return dict(counters.offsets)

    def after_fork_in_child(self) -> None:
        """Called by the fork itself: the child's events are its own from here on."""
        inherited = self._transport
        self._begin()
        inherited.disown(self._transport)
        if self._closed:
            self._transport.close(0)

    def close_at_exit(self, timeout: float) -> int:
        """Called when the process exits; how many events were left."""
        if self._closed:
            return 0
        self._closed = True
        return self._transport.close(timeout, destroy=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._transport.retire()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<StepEmitter {self.pipeline!r} {self.emitter_id.hex()} {state}>"
