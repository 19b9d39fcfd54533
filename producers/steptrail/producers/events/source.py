"""Turns a caller's arguments into the message of one event: checks, ids, time, normalised values, bytes.

The emitter and the in-memory storage share this code, so a test with the latter sees what Kafka would carry.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from itertools import count, islice, starmap
from struct import Struct
from time import time_ns
from typing import Any, Protocol

from steptrail.producers.accounting import position
from steptrail.producers.arguments import as_status, check_event, check_rest
from steptrail.producers.broker_clock import BrokerClock
from steptrail.producers.events import tracing
from steptrail.producers.events.executions import Assigned, OpenExecutions
from steptrail.producers.extraction import (
    MAX_ATTEMPT,
    MAX_DURATION_MS,
    TooLargeError,
    attempt_of,
    attempt_within,
    dependencies_of,
    duration_of,
    duration_within,
    time_us,
    worker_name,
)
from steptrail.producers.handle import StepHandle
from steptrail.producers.secrets.redaction import Redaction
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.foreign import is_foreign, let_through
from steptrail.schemas.ids import new_emitter_id
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.topics import message_key
from steptrail.schemas.values.values import (
    Marks,
    clean_text,
    identity_text,
    json_array,
    json_object,
    with_marks,
)
from steptrail.schemas.wire.codec import NO_NAMES, NO_VALUES, EventEncoder
from steptrail.schemas.wire.framing import SINGLE_OBJECT_PREFIX

RELIEF_EVERY = 256
"""Events after which a line is asked whether it needs relief."""

_CODES = {status: status.code for status in ProcessingStatus}
_MAX_TRACE_ID = 64
_CACHED_NAMES = 1024
_NO_ID = b"\0" * 16
_pack_id = Struct(">QQ").pack
_new_tuple = tuple.__new__  # costs half of calling a named tuple's class


class Line(Protocol):
    """Where messages go. Some members are attributes rather than methods, since each call costs time."""

    topic: str
    acceptances: Iterator[int]
    """Each step, written in C, counts one event more and gives its sequence number."""
    produce: Callable[..., None]
    """Takes topic, value, key, partition (-1: by the key) and `on_report`; None when it took the message."""
    on_report: Callable[..., None]
    interrupted: Iterator[object]
    """Each step, written in C, drops an accepted event."""
    keep: Callable[[bytes, bytes, list[Any]], None] | None
    """Keeps key and value in the journal, if there is one. The list is a receipt."""
    receipt: Callable[[], list[Any]]
    """Makes a receipt for an event, where there is a journal: a list that is empty at first, shows what became of
    keeping the event (see Journal.keeping), and is `on_report` of that event's message."""
    forgotten: deque[list[Any]]
    """Takes receipts: what was kept so needs no sending."""

    def refuse(self, error: Exception) -> None:
        """Count one more event, whose values could not be made into a message."""
        ...

    def not_encoded(self, error: Exception, mark: list[Any]) -> None:
        """Count an accepted event that could not be encoded; `mark` grows by one when that is done."""
        ...

    def not_sent(self, error: Exception, key: bytes, value: bytes, kept: list[Any], mark: list[Any]) -> bool:
        """Handle `error` from `produce`; `kept` is the message's place in the journal, if any. Returns True to retry;
        otherwise `mark` grows by one.
        """
        ...

    def relieve(self) -> None:
        """Called after every RELIEF_EVERY events."""
        ...


class EventSource:
    """Turns steps into messages and hands them to a Line. Safe for threads and signal handlers."""

    def __init__(self, settings: Settings, redaction: Redaction | None = None) -> None:
        self.settings = settings
        self._redact = redaction
        self._redact_fields = (
            None if redaction is None else redaction.__call__
        )  # the method: its call is cheaper
        self._altered = count()
        self._executions = OpenExecutions()
        self._assign = self._executions.assign
        self._clock = BrokerClock()
        self._clean_names: set[str] = set()
        self._max_name = settings.max_name_bytes
        self._max_details = settings.max_details_bytes
        self._max_metrics = settings.max_metrics_bytes
        self._max_error = settings.max_error_message_bytes

    def _begin(self, line: Line) -> None:
        """Start as a new emitter in this process, on this line."""
        self.emitter_id = new_emitter_id()
        """8 random bytes: this emitter in this process."""
        self._clean_pipeline, _ = identity_text(self.settings.pipeline, self._max_name)
        self._key_start = message_key(self._clean_pipeline, "")
        self._frame_events(SINGLE_OBJECT_PREFIX)
        # Parts of event ids: UUIDv7's version and 12 random bits; its variant and 61 bits with room for sequences.
        self._id_middle = 0x7000 | int.from_bytes(os.urandom(2), "big") >> 4
        self._id_base = 1 << 63 | int.from_bytes(os.urandom(8), "big") >> 3
        self._line = line

    def _frame_events(self, frame: bytes) -> None:
        """Begin messages with `frame` from now on; it names the event's schema."""
        encoder = EventEncoder(self._clean_pipeline, worker_name(), self.emitter_id, frame)
        self._max_message = self.settings.max_event_bytes + len(frame)
        self._encode: Callable[..., bytes] = encoder.encode

    @property
    def pipeline(self) -> str:
        """The pipeline whose steps these are."""
        return self.settings.pipeline

    @property
    def altered(self) -> int:
        """Number of events that were altered so that they could be sent; each records what, in its details."""
        return position(self._altered)

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
        """Take one event; `ProcessingStepManager.add_step` describes the arguments.

        Raises TypeError or ValueError naming the argument for a wrong type, an unknown status or a naive
        `timestamp`, and nothing else, whatever happens to the event.
        """
        # Every step of every worker pays for this, so it is one long function: each call costs time.
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
            doc_id, step_name = str.__str__(doc_id), str.__str__(step_name)
        if (
            error_type is not None
            or (execution_id is not None and (type(execution_id) is not bytes or len(execution_id) != 16))
            or (attempt is not None and type(attempt) is not int)
            or (duration_ms is not None and type(duration_ms) is not float)
            or depends_on is not None
            or trace_id is not None
        ):
            check_rest(error_type, execution_id, attempt, duration_ms, depends_on, trace_id)

        line = self._line
        try:
            now_us = time_ns() // 1000
            given_us: int | None = None
            marks: dict[str, Marks | None] | None = None
            doc, name, given_names = doc_id, step_name, depends_on
            if timestamp is not None:
                given_us, found = time_us(timestamp)
                if found:
                    marks = {"timestamp": found}
            if attempt is not None and (type(attempt) is not int or not 0 < attempt <= MAX_ATTEMPT):
                attempt, found = attempt_within(attempt)
                if found:
                    marks = {**(marks or {}), "attempt": found}
            if len(doc) > self._max_name or not doc.isascii() or "\0" in doc:
                doc, found = identity_text(doc, self._max_name)
                if found:
                    marks = {**(marks or {}), "doc_id": found}
            if len(name) > self._max_name or name not in self._clean_names:
                name, found = self._clean_name(name)
                if found:
                    marks = {**(marks or {}), "step_name": found}

            details_json = metrics_json = NO_VALUES
            depends_json = NO_NAMES
            if details is not None:
                details_json, found = json_object(details, self._max_details)
                if found:
                    marks = {**(marks or {}), "details": found}
                # A plain dict without these keys is the common case: decide it first.
                if type(details) is not dict or "retry_count" in details or "depends_on" in details:
                    if attempt is None:
                        attempt, found = attempt_of(details)
                        if found:
                            marks = {**(marks or {}), "attempt": found}
                    if depends_on is None:
                        depends_on = dependencies_of(details)
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
            if duration_ms is not None and (
                type(duration_ms) is not float or not 0 <= duration_ms <= MAX_DURATION_MS
            ):
                duration_ms, found = duration_within(duration_ms)
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
                if tracing.context():
                    trace_id = tracing.current_trace_id()
            else:
                trace_id, found = clean_text(trace_id, _MAX_TRACE_ID)
                if found:
                    marks = {**(marks or {}), "trace_id": found}
            if self._redact_fields is not None and (
                details is not None or metrics is not None or error_message is not None
            ):
                redacted = self._redact_fields(details_json, metrics_json, error_message, marks)
                if redacted is not None:
                    details_json, metrics_json, error_message, marks, found_names = redacted
                    if depends_on is not given_names:  # taken from the details
                        depends_json, _ = json_array(found_names)
            event_us = now_us
            if given_us is not None:
                event_us = given_us
            elif correction_us := self._clock.correction_us:
                event_us += correction_us
                marks = {**(marks or {}), "timestamp": {"clock_offset_ms": round(correction_us / 1000)}}
            if marks is not None:
                next(self._altered)
                details_json = with_marks(details_json, marks)
        except Exception as error:
            let_through(error)  # nothing was recorded yet
            line.refuse(error)
            return StepHandle(_NO_ID, execution_id or _NO_ID, attempt or 1, doc_id, step_name)

        # From here on a foreign exception is only raised on once the event is settled. Two variables show how far
        # it got: `sequence` is 0 or more once the event is accepted, `taken` is None once Kafka's client took it.
        # Each is bound by a turn of `for`: the iterator's step and the binding cannot be separated, as the interpreter
        # checks for signals only after calls, at the start of functions and at the backward jumps of loops.
        sequence = -1
        taken: object = False
        receipt = None if line.keep is None else line.receipt()
        assign: Callable[..., Assigned] = self._assign
        interrupted: BaseException | None = None
        key = value = None
        while True:
            try:
                if sequence < 0:
                    for sequence in line.acceptances:  # noqa: B007  bound, see above
                        break
                # UUIDv7: milliseconds, then the emitter's own bits, then the sequence on a random base, which keeps the
                # ids of one emitter unique and ordered without a lock.
                event_id = _pack_id(now_us // 1000 << 16 | self._id_middle, self._id_base + sequence)
                # An execution has the id of the event that began it, unless the caller gives one.
                run_id, run_attempt, measured_ms = assign(
                    doc, name, status, event_id, given_us, now_us, execution_id, attempt, progress
                )
                doc_bytes = doc.encode()
                value = self._encode(
                    event_id,
                    doc_bytes,
                    name,
                    run_id,
                    run_attempt,
                    _CODES[status],
                    event_us,
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
                on_report: Any = line.on_report
                if receipt is not None and (keep := line.keep) is not None:
                    keep(key, value, receipt)
                    on_report = receipt
                for taken in starmap(line.produce, ((line.topic, value, key, -1, on_report),)):  # noqa: B007
                    break
                if interrupted is not None:
                    break
                if not sequence % RELIEF_EVERY:
                    line.relieve()
                return _new_tuple(StepHandle, (event_id, run_id, run_attempt, doc_id, step_name))
            except BaseException as error:
                if sequence < 0 or taken is not False:
                    raise
                fate: list[Any] = [sequence]  # grows by one when the event is counted as dropped or kept
                kept = [] if receipt is None else receipt
                try:
                    again = self._is_to_try_again(line, error, fate, kept, key, value)
                    interrupted = error if again and is_foreign(error) else interrupted
                except BaseException:  # another one, or no stack left to call anything
                    if len(fate) == 1:
                        try:
                            if kept:
                                line.forgotten.append(kept)
                            fate.extend(islice(line.interrupted, 1))
                        except KeyError:
                            pass
                    raise
                if not again:
                    break
                assign = self._executions.assign_again
        if interrupted is not None:
            try:
                raise interrupted
            finally:
                del interrupted  # its traceback holds this frame
        if key is None:
            return StepHandle(_NO_ID, execution_id or _NO_ID, attempt or 1, doc_id, step_name)
        if not sequence % RELIEF_EVERY:
            line.relieve()
        ids = event_id, run_id, run_attempt  # pyright: ignore[reportPossiblyUnboundVariable]  before `key`
        return StepHandle(*ids, doc_id, step_name)

    @staticmethod
    def _is_to_try_again(
        line: Line,
        error: BaseException,
        fate: list[Any],
        kept: list[Any],
        key: bytes | None,
        value: bytes | None,
    ) -> bool:
        """Whether to retry an accepted event that this exception interrupted; if not, it is counted now."""
        if is_foreign(error):
            return True
        assert isinstance(error, Exception)
        if key is not None and value is not None:
            return line.not_sent(error, key, value, kept, fate)
        line.not_encoded(error, fate)
        return False

    def has_ended(self, run: StepHandle) -> bool:
        """Whether this run's ending is the last thing recorded of its step here."""
        doc_id, _ = identity_text(run.doc_id, self._max_name)
        step_name, _ = identity_text(run.step_name, self._max_name)
        return self._executions.has_ended(doc_id, step_name, run.execution_id)

    def _clean_name(self, step_name: str) -> tuple[str, Marks | None]:
        """A step's name, normalised; names that need no change are cached."""
        clean, found = identity_text(step_name, self._max_name)
        if not found:
            if len(self._clean_names) >= _CACHED_NAMES:
                self._clean_names.clear()
            self._clean_names.add(clean)
        return clean, found
