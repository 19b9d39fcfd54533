"""The in-memory twin of the real storage, for the tests of those who use steptrail."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from itertools import count
from typing import Any

from steptrail.schemas.codec import decode_event
from steptrail.schemas.errors import EventDecodeError
from steptrail.schemas.event import StepEvent, us_from_datetime
from steptrail.schemas.framing import split_frame
from steptrail.schemas.ids import new_emitter_id
from steptrail.schemas.settings import Settings
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.step import ProcessingStep, RecentError
from steptrail.schemas.values import identity_text

from .arguments import as_status, check_doc_id, check_event, check_rest, check_time, check_timeout
from .composer import Composer, TooLargeError
from .executions import OpenExecutions
from .readback import recent_error_of, step_of
from .storage import Emitted

_ERRORS = frozenset({ProcessingStatus.ERROR, ProcessingStatus.FAILED})
_NO_ID = b"\0" * 16


class InMemoryStorage:
    """A Storage that keeps its events in this process: no Kafka, no ClickHouse, the same answers.

    Events pass through the real encoding and back, so what a test reads is what production would give. They
    are readable at once, and kept until `clear`. Those that production would not show either are only counted,
    in `refused`: emitted after `close`, too large, or of a time that ClickHouse cannot hold.
    """

    def __init__(self, pipeline: str = "default") -> None:
        # Only pipeline and limits matter here; a test must not depend on the environment that it runs in.
        defaults = {name: field.get_default(call_default_factory=True) for name, field in _FIELDS}
        self._settings = Settings.model_construct(**{**defaults, "pipeline": pipeline})
        self._compose = Composer(self._settings, new_emitter_id(), OpenExecutions()).compose
        self._sequence = count()
        self._events: deque[StepEvent] = deque()
        self._closed = False
        self.refused = 0
        """Events that were accepted and will never be readable."""

    @property
    def pipeline(self) -> str:
        """The pipeline whose steps these are."""
        return self._settings.pipeline

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
        """Take one event; raises TypeError or ValueError as every Storage does."""
        status = as_status(status)
        check_event(doc_id, step_name, timestamp, details, metrics, error_message)
        check_rest(error_type, execution_id, attempt, duration_ms, depends_on, trace_id)
        if self._closed:
            self.refused += 1
            return Emitted(_NO_ID, execution_id or _NO_ID, attempt or 1)
        try:
            _, value, emitted = self._compose(
                next(self._sequence),
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
        except TooLargeError:
            self.refused += 1
            return Emitted(_NO_ID, execution_id or _NO_ID, attempt or 1)
        try:
            self._events.append(decode_event(value[split_frame(value).length :]))
        except EventDecodeError:  # a dead letter, in production
            self.refused += 1
        return emitted

    def get_steps(
        self,
        doc_id: str,
        *,
        statuses: Collection[ProcessingStatus] | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
    ) -> list[ProcessingStep]:
        """The events of one document, oldest first; [] for an unknown one."""
        wanted, _ = identity_text(check_doc_id(doc_id), self._settings.max_name_bytes)
        start_us = None if start_time is None else us_from_datetime(check_time("start_time", start_time))
        end_us = None if end_time is None else us_from_datetime(check_time("end_time", end_time))
        found = [
            event
            for event in self.events()
            if event.doc_id == wanted
            and (statuses is None or event.status in statuses)
            and (start_us is None or event.timestamp >= start_us)
            and (end_us is None or event.timestamp < end_us)
        ]
        return [step_of(event) for event in sorted(found, key=_position)]

    def get_recent_errors(
        self, since: datetime, *, include_warnings: bool = False, limit: int | None = None
    ) -> list[RecentError]:
        """ERROR and FAILED (and WARNING, when asked) at or after `since`, newest first."""
        since_us = us_from_datetime(check_time("since", since))
        statuses = _ERRORS | {ProcessingStatus.WARNING} if include_warnings else _ERRORS
        found = [event for event in self.events() if event.status in statuses and event.timestamp >= since_us]
        newest_first = sorted(found, key=_position, reverse=True)
        return [recent_error_of(event) for event in newest_first[:limit]]

    def events(self) -> Iterator[StepEvent]:
        """Every event as it would stand in Kafka, in the order of emission."""
        yield from tuple(self._events)

    def clear(self) -> None:
        """Forget all events; open executions stay open."""
        self._events.clear()

    def flush(self, timeout: float) -> int:
        """Nothing is ever pending here."""
        check_timeout(timeout)
        return 0

    def wait_projected(self, timeout: float) -> bool:
        """Everything is readable at once."""
        check_timeout(timeout)
        return True

    def close(self, timeout: float = 2.0) -> None:
        """Refuse further events; what is there stays readable."""
        check_timeout(timeout)
        self._closed = True


def _position(event: StepEvent) -> tuple[int, bytes]:
    return event.timestamp, event.event_id


_FIELDS = tuple(Settings.model_fields.items())
