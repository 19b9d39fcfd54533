"""From a caller's arguments to the message of one event: ids, times, normalised values, bytes.

The emitter and the in-memory twin share it, so that a test on the twin sees what Kafka would have carried.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping
from datetime import datetime
from math import isfinite
from time import time_ns
from typing import Any

from steptrail.schemas.codec import EventEncoder
from steptrail.schemas.errors import DataError
from steptrail.schemas.event import us_from_datetime
from steptrail.schemas.framing import SINGLE_OBJECT_PREFIX
from steptrail.schemas.ids import uuid7
from steptrail.schemas.settings import Settings
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.topics import message_key
from steptrail.schemas.values import Marks, clean_text, identity_text, json_array, json_object, with_marks

from .executions import OpenExecutions
from .storage import Emitted
from .tracing import current_trace_id

_CODES = {status: status.code for status in ProcessingStatus}
_MAX_TRACE_ID = 64
_new_tuple = tuple.__new__  # half the cost of calling a named tuple's class
_CACHED_NAMES = 1024


Message = tuple[bytes, bytes, Emitted]
"""What goes to Kafka for one event, its key and its value, and what the caller is told."""


class TooLargeError(DataError):
    """The encoded event is longer than an event may be, in spite of the limits on its parts."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"an event of {size} bytes, at most {limit} are allowed")


class Composer:
    """Composes the events of one emitter in one process. Safe for threads.

    `compose` never raises for a strange value, only TooLargeError for too much of them. Types are the caller's
    to check (steptrail.producers.arguments).
    """

    def __init__(self, settings: Settings, emitter_id: bytes, executions: OpenExecutions) -> None:
        self.pipeline = identity_text(settings.pipeline, settings.max_name_bytes)[0]
        self.worker = worker_name()
        self.frame = SINGLE_OBJECT_PREFIX
        self._max_message = settings.max_event_bytes + len(self.frame)
        self._clean_names: set[str] = set()
        self._max_name = settings.max_name_bytes
        self._max_details = settings.max_details_bytes
        self._max_metrics = settings.max_metrics_bytes
        self._max_error = settings.max_error_message_bytes
        self._encode = EventEncoder(self.pipeline, self.worker, emitter_id, self.frame).encode
        self._assign = executions.assign

    def compose(
        self,
        sequence: int,
        doc_id: str,
        step_name: str,
        status: ProcessingStatus,
        timestamp: datetime | None,
        details: Mapping[str, Any] | None,
        metrics: Mapping[str, Any] | None,
        error_message: str | None,
        error_type: str | None,
        execution_id: bytes | None,
        attempt: int | None,
        duration_ms: float | None,
        depends_on: Collection[str] | None,
        trace_id: str | None,
    ) -> Message:
        """The message of one event; `duration_ms` in milliseconds, as given, else as measured."""
        now_us = time_ns() // 1000
        given_us = None if timestamp is None else us_from_datetime(timestamp)
        marks: dict[str, Marks | None] | None = None

        if not doc_id.isascii() or "\0" in doc_id or len(doc_id) > self._max_name:
            doc_id, found = identity_text(doc_id, self._max_name)
            if found:
                marks = {"doc_id": found}
        if step_name not in self._clean_names:
            step_name, found = self._name(step_name)
            if found:
                marks = {**(marks or {}), "step_name": found}

        details_json = metrics_json = b"{}"
        depends_json = b"[]"
        if details is not None:
            details_json, found = json_object(details, self._max_details)
            if found:
                marks = {**(marks or {}), "details": found}
            # A plain dict without these keys is the common case, and said at once.
            if type(details) is not dict or "retry_count" in details or "depends_on" in details:
                attempt = attempt or _attempt_of(details)
                depends_on = depends_on or _dependencies_of(details)
        if depends_on is not None:
            depends_json, found = json_array(depends_on)
            if found:
                marks = {**(marks or {}), "depends_on": found}
        if metrics is not None:
            metrics_json, found = json_object(metrics, self._max_metrics)
            if found:
                marks = {**(marks or {}), "metrics": found}
        if duration_ms is not None:
            duration_ms, found = _finite(duration_ms)
            if found:
                marks = {**(marks or {}), "duration_ms": found}
        elif metrics is not None and (type(metrics) is not dict or "duration_ms" in metrics):
            duration_ms = _duration_of(metrics)

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
        if marks is not None:
            details_json = with_marks(details_json, marks)

        # An execution has the id of the event that began it, unless the caller names another.
        event_id = uuid7()
        execution_id, attempt, measured_ms = self._assign(
            doc_id, step_name, status, event_id, given_us, now_us, execution_id, attempt
        )
        value = self._encode(
            event_id,
            doc_id,
            step_name,
            execution_id,
            attempt,
            _CODES[status],
            now_us if given_us is None else given_us,
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
            raise TooLargeError(len(value) - len(self.frame), self._max_message - len(self.frame))
        emitted = _new_tuple(Emitted, (event_id, execution_id, attempt))
        return message_key(self.pipeline, doc_id), value, emitted

    def _name(self, step_name: str) -> tuple[str, Marks | None]:
        """A step's name made fit, and remembered when there was nothing to do."""
        clean, found = identity_text(step_name, self._max_name)
        if not found:
            if len(self._clean_names) >= _CACHED_NAMES:
                self._clean_names.clear()
            self._clean_names.add(clean)
        return clean, found


def worker_name() -> str:
    """Who emits: `host:pid` of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _attempt_of(details: Mapping[str, Any]) -> int | None:
    """`retry_count` + 1, where the details hold a usable one."""
    try:
        retries = details.get("retry_count")
    except Exception:  # a mapping of the caller's own kind
        return None
    if type(retries) is int and 0 <= retries < 2**31 - 1:
        return retries + 1
    return None


def _dependencies_of(details: Mapping[str, Any]) -> list[str] | None:
    """`depends_on`, where the details hold one: the name of a step, or several."""
    try:
        names = details.get("depends_on")
    except Exception:
        return None
    if names is None:
        return None
    if type(names) is str:
        return [names]
    if isinstance(names, list | tuple | set | frozenset):
        return [name for name in names if isinstance(name, str)]
    return None


def _duration_of(metrics: Mapping[str, Any]) -> float | None:
    try:
        value = metrics.get("duration_ms")
    except Exception:
        return None
    return _finite(value)[0] if type(value) is float or type(value) is int else None


def _finite(value: float) -> tuple[float | None, Marks | None]:
    try:
        number = float(value)
    except OverflowError:
        return None, {"big_int": 1}
    return (number, None) if isfinite(number) else (None, {"non_finite": 1})
