"""The in-memory twin of the real storage, for the tests of those who use steptrail."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from itertools import count
from typing import NoReturn

from steptrail.schemas.codec import decode_event
from steptrail.schemas.errors import EventDecodeError
from steptrail.schemas.event import StepEvent, us_from_datetime
from steptrail.schemas.framing import split_frame
from steptrail.schemas.settings import Settings
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.step import ProcessingStep, RecentError
from steptrail.schemas.values import identity_text

from .accounting import position
from .arguments import check_doc_id, check_time, check_timeout
from .extraction import TooLargeError
from .readback import recent_error_of, step_of
from .redaction import Redaction, as_redaction
from .redactors import Redactor
from .source import EventSource

_ERRORS = frozenset({ProcessingStatus.ERROR, ProcessingStatus.FAILED})


class _ClosedError(Exception):
    """The storage is closed."""


def _never_called(*_report: object) -> None:
    raise AssertionError("nothing is reported in memory")


def _refuse(*_message: object) -> NoReturn:
    raise _ClosedError


class _Kept:
    """The Line of the twin: a list of events, each encoded and decoded again."""

    def __init__(self) -> None:
        self.topic = "memory"
        self.events: deque[StepEvent] = deque()
        self.accept: Callable[[], int] = count().__next__
        self.produce: Callable[..., None] = self._keep
        self.on_report: Callable[..., None] = _never_called
        self.refused = count()

    def _keep(self, _topic: str, value: bytes, *_rest: object) -> None:
        self.events.append(decode_event(value[split_frame(value).length :]))

    def not_encoded(self, error: Exception) -> None:
        """Too large, in production a drop; anything else is a fault of steptrail and must show in a test."""
        if not isinstance(error, TooLargeError):
            raise error
        next(self.refused)

    def not_sent(self, error: Exception, key: bytes, value: bytes) -> None:
        """Closed, or what would be a dead letter in production."""
        if not isinstance(error, EventDecodeError | _ClosedError):
            raise error
        next(self.refused)

    def relieve(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Refuse what comes from now on."""
        self.produce = _refuse


class InMemoryStorage(EventSource):
    """A Storage that keeps its events in this process: no Kafka, no ClickHouse, the same answers.

    Events pass through the real encoding and back, so what a test reads is what production would give. They
    are readable at once, and kept until `clear`. Those that production would not show either are only counted,
    in `refused`: emitted after `close`, too large, or of a time that ClickHouse cannot hold. `redact` is what it
    is to StepEmitter.
    """

    def __init__(
        self, pipeline: str = "default", *, redact: Redaction | Iterable[Redactor] | None = None
    ) -> None:
        # Only pipeline and limits matter here; a test must not depend on the environment that it runs in.
        defaults = {name: field.get_default(call_default_factory=True) for name, field in _FIELDS}
        super().__init__(Settings.model_construct(**{**defaults, "pipeline": pipeline}), as_redaction(redact))
        self._kept = _Kept()
        self._begin(self._kept)

    @property
    def refused(self) -> int:
        """Events that were accepted and will never be readable."""
        return position(self._kept.refused)

    def get_steps(
        self,
        doc_id: str,
        *,
        statuses: Collection[ProcessingStatus] | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
    ) -> list[ProcessingStep]:
        """The events of one document, oldest first; [] for an unknown one."""
        wanted, _ = identity_text(check_doc_id(doc_id), self.settings.max_name_bytes)
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
        yield from tuple(self._kept.events)

    def clear(self) -> None:
        """Forget all events; open executions stay open."""
        self._kept.events.clear()

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
        self._kept.close()


def _position(event: StepEvent) -> tuple[int, bytes]:
    return event.timestamp, event.event_id


_FIELDS = tuple(Settings.model_fields.items())
