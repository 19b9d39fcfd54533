"""From a caller's arguments to the message of one event: checks, ids, time, normalised values, bytes.

The emitter and the in-memory twin are both such sources, so that a test on the twin sees what Kafka would carry.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from struct import Struct
from time import time_ns
from typing import Any, Protocol

from steptrail.producers.arguments import as_status, check_event, check_rest
from steptrail.producers.broker_clock import BrokerClock
from steptrail.producers.executions import OpenExecutions
from steptrail.producers.extraction import (
    TooLargeError,
    attempt_of,
    dependencies_of,
    duration_of,
    finite,
    worker_name,
)
from steptrail.producers.handle import StepHandle
from steptrail.producers.redaction import Redaction
from steptrail.producers.tracing import current_trace_id
from steptrail.schemas.codec import NO_NAMES, NO_VALUES, EventEncoder
from steptrail.schemas.event import us_from_datetime
from steptrail.schemas.framing import SINGLE_OBJECT_PREFIX
from steptrail.schemas.ids import new_emitter_id
from steptrail.schemas.settings import Settings
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.topics import message_key
from steptrail.schemas.values import Marks, clean_text, identity_text, json_array, json_object, with_marks

RELIEF_EVERY = 256
"""Events after which a line is asked whether it needs relief."""

_CODES = {status: status.code for status in ProcessingStatus}
_MAX_TRACE_ID = 64
_CACHED_NAMES = 1024
_NO_ID = b"\0" * 16
_pack_id = Struct(">QQ").pack
_new_tuple = tuple.__new__  # half the cost of calling a named tuple's class


class Line(Protocol):
    """Where messages go. Attributes rather than methods, some of them, since each call is felt."""

    topic: str
    accept: Callable[[], int]
    """Counts one event more and gives its sequence number."""
    produce: Callable[..., None]
    """Takes topic, value, key, partition (-1: by the key) and `on_report`."""
    on_report: Callable[..., None]

    def not_encoded(self, error: Exception) -> None:
        """There is no message of the accepted event."""
        ...

    def not_sent(self, error: Exception, key: bytes, value: bytes) -> None:
        """`produce` raised this for the message."""
        ...

    def relieve(self) -> None:
        """Called after every RELIEF_EVERY events."""
        ...


class EventSource:
    """Turns steps into messages and puts them on a line. Safe for threads and signal handlers."""

    def __init__(self, settings: Settings, redaction: Redaction | None = None) -> None:
        self.settings = settings
        self._redact = redaction
        self._executions = OpenExecutions()
        self._assign = self._executions.assign
        self._clock = BrokerClock()
        self._clean_names: set[str] = set()
        self._max_name = settings.max_name_bytes
        self._max_details = settings.max_details_bytes
        self._max_metrics = settings.max_metrics_bytes
        self._max_error = settings.max_error_message_bytes

    def _begin(self, line: Line) -> None:
        """From now on, events are those of a new emitter, in this process, on this line."""
        self.emitter_id = new_emitter_id()
        """8 random bytes: this emitter in this process."""
        self._clean_pipeline, _ = identity_text(self.settings.pipeline, self._max_name)
        self._key_start = message_key(self._clean_pipeline, "")
        self._frame_events(SINGLE_OBJECT_PREFIX)
        # Of event ids: UUIDv7's version, then 12 random bits; its variant, then 61 with room for sequences above.
        self._id_middle = 0x7000 | int.from_bytes(os.urandom(2), "big") >> 4
        self._id_base = 1 << 63 | int.from_bytes(os.urandom(8), "big") >> 3
        self._line = line

    def _frame_events(self, frame: bytes) -> None:
        """From now on messages begin with `frame`, which names the event's schema."""
        encoder = EventEncoder(self._clean_pipeline, worker_name(), self.emitter_id, frame)
        self._max_message = self.settings.max_event_bytes + len(frame)
        self._encode: Callable[..., bytes] = encoder.encode

    @property
    def pipeline(self) -> str:
        """The pipeline whose steps these are."""
        return self.settings.pipeline

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
    ) -> StepHandle:
        """Take one event; what each argument means is told at `Storage`.

        Raises TypeError or ValueError naming the argument for a wrong type, an unknown status or a naive
        `timestamp`, and nothing else, whatever becomes of the event.
        """
        # This is what every step of every worker pays for, so it is one long function: a call more is felt.
        if type(status) is not ProcessingStatus:
            status = as_status(status)
        if (
            type(doc_id) is not str
            or type(step_name) is not str
            or timestamp is not None
            or error_message is not None
            or (details is not None and type(details) is not dict)
            or (metrics is not None and type(metrics) is not dict)
        ):
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

        line = self._line
        sequence = line.accept()
        try:
            now_us = time_ns() // 1000
            given_us = None if timestamp is None else us_from_datetime(timestamp)
            marks: dict[str, Marks | None] | None = None
            doc, name, given_names = doc_id, step_name, depends_on
            if not doc.isascii() or "\0" in doc or len(doc) > self._max_name:
                doc, found = identity_text(doc, self._max_name)
                if found:
                    marks = {"doc_id": found}
            if name not in self._clean_names:
                name, found = self._clean_name(name)
                if found:
                    marks = {**(marks or {}), "step_name": found}

            details_json = metrics_json = NO_VALUES
            depends_json = NO_NAMES
            if details is not None:
                details_json, found = json_object(details, self._max_details)
                if found:
                    marks = {**(marks or {}), "details": found}
                # A plain dict without these keys is the common case, and said at once.
                if type(details) is not dict or "retry_count" in details or "depends_on" in details:
                    attempt = attempt or attempt_of(details)
                    depends_on = depends_on or dependencies_of(details)
            if depends_on is not None:
                depends_json, found = json_array(depends_on)
                if found:
                    marks = {**(marks or {}), "depends_on": found}
            if metrics is not None:
                metrics_json, found = json_object(metrics, self._max_metrics)
                if found:
                    marks = {**(marks or {}), "metrics": found}
                if duration_ms is None and (type(metrics) is not dict or "duration_ms" in metrics):
                    duration_ms = duration_of(metrics)
            if duration_ms is not None:
                duration_ms, found = finite(duration_ms)
                if found:
                    marks = {**(marks or {}), "duration_ms": found}
            if error_message is not None:
                error_message, found = clean_text(error_message, self._max_error)
                if found:
                    marks = {**(marks or {}), "error_message": found}
            if error_type is not None:
                error_type, found = identity_text(error_type, self._max_name)
                if found:
                    marks = {**(marks or {}), "error_type": found}
            if trace_id is None:
                trace_id = current_trace_id()
            else:
                trace_id, found = clean_text(trace_id, _MAX_TRACE_ID)
                if found:
                    marks = {**(marks or {}), "trace_id": found}
            if self._redact is not None and (
                details is not None or metrics is not None or error_message is not None
            ):
                redacted = self._redact(details_json, metrics_json, error_message, marks)
                if redacted is not None:
                    details_json, metrics_json, error_message, marks, found_names = redacted
                    if depends_on is not given_names:  # they came from the details
                        depends_json, _ = json_array(found_names)
            time_us = now_us
            if given_us is not None:
                time_us = given_us
            elif correction_us := self._clock.correction_us:
                time_us += correction_us
                marks = {**(marks or {}), "timestamp": {"clock_offset_ms": round(correction_us / 1000)}}
            if marks is not None:
                details_json = with_marks(details_json, marks)

            # UUIDv7: milliseconds, then what is the emitter's own, then the sequence on a random base, which keeps
            # ids of one emitter apart and in order without a lock.
            event_id = _pack_id(now_us // 1000 << 16 | self._id_middle, self._id_base + sequence)
            # An execution has the id of the event that began it, unless the caller names another.
            execution_id, attempt, measured_ms = self._assign(
                doc, name, status, event_id, given_us, now_us, execution_id, attempt, progress
            )
            doc_bytes = doc.encode()
            value = self._encode(
                event_id,
                doc_bytes,
                name,
                execution_id,
                attempt,
                _CODES[status],
                time_us,
                measured_ms if duration_ms is None else duration_ms,
                error_type,
                error_message,
                details_json,
                metrics_json,
                depends_json,
                trace_id,
                sequence,
            )
            if len(value) > self._max_message:
                raise TooLargeError(len(value), self._max_message)
            key = self._key_start + doc_bytes
        except Exception as error:
            line.not_encoded(error)
            return StepHandle(_NO_ID, execution_id or _NO_ID, attempt or 1, doc_id, step_name)
        try:
            line.produce(line.topic, value, key, -1, line.on_report)
        except Exception as error:
            line.not_sent(error, key, value)
        if not sequence % RELIEF_EVERY:
            line.relieve()
        return _new_tuple(StepHandle, (event_id, execution_id, attempt, doc_id, step_name))

    def _clean_name(self, step_name: str) -> tuple[str, Marks | None]:
        """A step's name made fit, and remembered when there was nothing to do."""
        clean, found = identity_text(step_name, self._max_name)
        if not found:
            if len(self._clean_names) >= _CACHED_NAMES:
                self._clean_names.clear()
            self._clean_names.add(clean)
        return clean, found
