"""An in-memory storage for tests of code that uses steptrail."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from itertools import count, islice
from typing import Any, NoReturn

from typing_extensions import Self

from steptrail.producers.accounting import position
from steptrail.producers.arguments import check_doc_id, check_time, check_timeout
from steptrail.producers.events.readback import observed_error_of, observed_step_of, recent_error_of, step_of
from steptrail.producers.events.source import EventSource
from steptrail.producers.extraction import TooLargeError
from steptrail.producers.secrets.redaction import Redaction, as_redaction
from steptrail.producers.secrets.redactors import Redactor
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.event import StepEvent, us_from_datetime
from steptrail.schemas.fold import Fold
from steptrail.schemas.observation import (
    Observed,
    StepObservation,
    decode_observation,
    encode_observation,
)
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.step import ProcessingStep, RecentError
from steptrail.schemas.stored_names import stored_name
from steptrail.schemas.wire.codec import decode_event
from steptrail.schemas.wire.framing import split_frame

_ERRORS = frozenset({ProcessingStatus.ERROR, ProcessingStatus.FAILED})


class _ClosedError(Exception):
    """The storage is closed."""


def _never_called(*_report: object) -> None:
    raise AssertionError("nothing is reported in memory")


def _refuse(*_message: object) -> NoReturn:
    raise _ClosedError


class _Kept:
    """The Line of the in-memory storage: a list of events, each encoded and decoded again."""

    def __init__(self) -> None:
        self.topic = "memory"
        # By id, since an interrupted `emit` may produce the same message twice.
        self.events: dict[bytes, StepEvent] = {}
        self.acceptances: Iterator[int] = count()
        self.produce: Callable[..., None] = self._keep
        self.on_report: Callable[..., None] = _never_called
        self.refused = count()
        self.interrupted: Iterator[object] = self.refused
        self.keep: Callable[..., None] | None = None
        self.receipt: Callable[[], list[Any]] = list
        self.forgotten: deque[list[Any]] = deque()

    def _keep(self, _topic: str, value: bytes, *_rest: object) -> None:
        event = decode_event(value[split_frame(value).length :])
        self.events.setdefault(event.event_id, event)

    def refuse(self, error: Exception) -> None:
        """Raise: this is a bug of steptrail, which a test must show."""
        raise error

    def not_encoded(self, error: Exception, mark: list[Any]) -> None:
        """Count a message that is too large (a drop in production); anything else is a bug of steptrail and is
        raised.
        """
        if not isinstance(error, TooLargeError):
            raise error
        mark.extend(islice(self.refused, 1))

    def not_sent(self, error: Exception, key: bytes, value: bytes, kept: list[Any], mark: list[Any]) -> bool:
        """Count a message after `close`; anything else, such as a dead letter in production, is a bug of steptrail."""
        if not isinstance(error, _ClosedError):
            raise error
        mark.extend(islice(self.refused, 1))
        return False

    def relieve(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Reject further messages."""
        self.produce = _refuse


class InMemoryStorage(EventSource):
    """A Storage that keeps its events in this process: no Kafka, no ClickHouse, the same results.

    Events pass through the real encoding and back, so a test reads what production would return. They are readable
    at once, and kept until `clear`. Events that production would not show either, emitted after `close` or too large,
    are only counted, in `refused`. `redact` works as in StepEmitter. It cannot be pickled; a copy by `copy` is the
    storage itself.
    """

    def __init__(
        self, pipeline: str = "default", *, redact: Redaction | Iterable[Redactor] | None = None
    ) -> None:
        # Only pipeline and limits matter here; a test must not depend on its environment.
        defaults = {
            name: field.get_default(call_default_factory=True, validated_data={}) for name, field in _FIELDS
        }
        super().__init__(Settings.model_construct(**{**defaults, "pipeline": pipeline}), as_redaction(redact))
        self._kept = _Kept()
        self._observed: dict[bytes, StepObservation] = {}
        self._begin(self._kept)

    @property
    def refused(self) -> int:
        """Number of events that were accepted and will never be readable."""
        return position(self._kept.refused)

    def get_steps(
        self,
        doc_id: str,
        *,
        statuses: Collection[ProcessingStatus] | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        include_observed: bool = False,
    ) -> list[ProcessingStep]:
        """The events of one document, oldest first; [] for an unknown one."""
        wanted = stored_name(check_doc_id(doc_id), self.settings.max_name_bytes)
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
        steps = [step_of(event) for event in sorted(found, key=_position)]
        if include_observed:
            observed = [
                observed_step_of(each, stands=self._stands(each))
                for each in sorted(self._observed.values(), key=lambda each: (each.watermark, each.number))
                if each.doc_id == wanted
                and (statuses is None or each.status in statuses)
                and (start_us is None or each.watermark >= start_us)
                and (end_us is None or each.watermark < end_us)
            ]
            steps = sorted([*steps, *observed], key=lambda step: step.timestamp)
        return steps

    def get_recent_errors(
        self,
        since: datetime,
        *,
        include_warnings: bool = False,
        limit: int | None = None,
        include_observed: bool = False,
    ) -> list[RecentError]:
        """ERROR and FAILED (and WARNING, when asked) at or after `since`, newest first."""
        since_us = us_from_datetime(check_time("since", since))
        statuses = _ERRORS | {ProcessingStatus.WARNING} if include_warnings else _ERRORS
        found = [event for event in self.events() if event.status in statuses and event.timestamp >= since_us]
        newest_first = sorted(found, key=_position, reverse=True)
        errors = [recent_error_of(event) for event in newest_first[:limit]]
        if include_observed:
            errors += [
                observed_error_of(each)
                for each in sorted(self._observed.values(), key=lambda each: each.watermark, reverse=True)
                if each.watermark >= since_us and self._stands(each)
            ]
            errors.sort(key=lambda error: error.timestamp, reverse=True)
        return errors[:limit]

    def observe(self, observation: StepObservation) -> None:
        """Add an observation as a consumer would, for reads with `include_observed`.

        Nothing watches this storage's runs by itself. Raises EventDecodeError for an inconsistent observation.
        """
        observation = decode_observation(encode_observation(observation))
        self._observed.setdefault(observation.observation_id, observation)

    def _stands(self, observation: StepObservation) -> bool:
        """Whether it is the latest observation, STALLED, and about a step's current execution, still running or
        pending.
        """
        execution = observation.execution_id
        if any(
            each.execution_id == execution and each.number > observation.number
            for each in self._observed.values()
        ):
            return False
        fold = Fold()
        for event in self.events():
            if event.doc_id == observation.doc_id and event.step_name == observation.step_name:
                fold.add(event)
        found = fold.steps().get((observation.pipeline, observation.doc_id, observation.step_name))
        if observation.what is not Observed.STALLED or found is None:
            return False
        current = found.current
        if observation.status is ProcessingStatus.PENDING:  # may have been queued again since
            return current.status is ProcessingStatus.PENDING
        return current.execution_id == execution and current.status is ProcessingStatus.RUNNING

    def events(self) -> Iterator[StepEvent]:
        """Every event as Kafka would hold it, in the order of emission."""
        yield from tuple(self._kept.events.values())

    def clear(self) -> None:
        """Delete all events and observations; open executions stay open."""
        self._kept.events.clear()
        self._observed.clear()

    def flush(self, timeout: float) -> int:
        """Nothing is ever pending here."""
        check_timeout(timeout)
        return 0

    def wait_projected(self, timeout: float) -> bool:
        """Return True: everything is readable at once."""
        check_timeout(timeout)
        return True

    def __reduce__(self) -> NoReturn:
        raise pickle.PicklingError(
            "an InMemoryStorage lives in one process: what a copy in another one records would be seen by nobody;"
            " there, open another, or use steptrail.producers.emit_only() or steptrail.projections.open_storage()"
        )

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def close(self, timeout: float = 2.0) -> None:
        """Reject further events; existing ones stay readable."""
        check_timeout(timeout)
        self._kept.close()


def _position(event: StepEvent) -> tuple[int, bytes]:
    return event.timestamp, event.event_id


_FIELDS = tuple(Settings.model_fields.items())
