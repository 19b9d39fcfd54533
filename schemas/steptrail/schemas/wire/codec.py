"""Encodes events by hand, since every worker pays for emission.

The bytes equal those that any Avro library writes for the bundled schema. There are two encoders:
`encode_event` takes a whole StepEvent; an emitter holds an `EventEncoder`, which keeps what is constant across
its events. `steptrail.schemas.wire.decoder` decodes.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, Protocol

from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.event import MAX_EVENT_BYTES, StepEvent
from steptrail.schemas.wire.decoder import decode_event
from steptrail.schemas.wire.framing import SINGLE_OBJECT_PREFIX
from steptrail.schemas.wire.varint import PAIRS, SMALL_LONGS, encode_long, encode_unsigned

__all__ = [
    "MAX_EVENT_BYTES",
    "DecodeReason",
    "EventDecodeError",
    "EventEncoder",
    "decode_event",
    "encode_event",
]

_SMALL: Final = len(SMALL_LONGS)
# Zigzag doubles a number, so that two byte pairs hold 27 bits of a non-negative number, and one pair 13.
_EVEN_PAIRS: Final = PAIRS[::2]  # the first pairs of such numbers
_TWO_PAIRS: Final = 1 << 27
_LONGEST: Final = 1 << 62
_MOST_EVENTS: Final = _LONGEST >> 13
_SHORT: Final = 256
_NULL: Final = b"\x00"
_SOME: Final = b"\x02"  # index 1 of the union: the value follows
_STATUS: Final = SMALL_LONGS[:7]
_FEW_ATTEMPTS: Final = 64
_ATTEMPT_AND_STATUS: Final = tuple(
    tuple(SMALL_LONGS[attempt] + status for status in _STATUS) for attempt in range(_FEW_ATTEMPTS)
)
_FIRST_AND_STATUS: Final = _ATTEMPT_AND_STATUS[1]
NO_VALUES: Final = b"{}"
NO_NAMES: Final = b"[]"
"""Details and metrics, and depends_on, with nothing in them; these very objects are encoded fastest."""
_pack_some_double = Struct("<Bd").pack
_CACHED_NAMES = 1024


def _text(value: bytes) -> bytes:
    size = len(value)
    return (SMALL_LONGS[size] if size < _SMALL else encode_long(size)) + value


def encode_event(event: StepEvent) -> bytes:
    """Encode an event as an unframed Avro body.

    Raises UnicodeEncodeError for text with lone surrogates and ValueError for numbers out of range or ids of
    a wrong length. It does not validate values; the caller must reject a body longer than MAX_EVENT_BYTES.
    """
    for name, size in (("event_id", 16), ("execution_id", 16), ("emitter_id", 8)):
        if len(getattr(event, name)) != size:
            raise ValueError(f"{name} has {size} bytes, not {len(getattr(event, name))}")
    if not -(2**31) <= event.attempt < 2**31:
        raise ValueError(f"attempt {event.attempt} does not fit in 32 bits")
    encoder = EventEncoder(event.pipeline, event.worker, event.emitter_id, b"")
    return encoder.encode(
        event.event_id,
        event.doc_id.encode(),
        event.step_name,
        event.execution_id,
        event.attempt,
        event.status.code,
        event.timestamp,
        event.duration_ms,
        event.error_type,
        event.error_message,
        event.details.encode(),
        event.metrics.encode(),
        event.depends_on.encode(),
        event.trace_id,
        event.sequence,
    )


class Encode(Protocol):
    """The signature of `EventEncoder.encode`."""

    def __call__(
        self,
        event_id: bytes,
        doc_id: bytes,
        step_name: str,
        execution_id: bytes,
        attempt: int,
        status_code: int,
        timestamp: int,
        duration_ms: float | None = None,
        error_type: str | None = None,
        error_message: str | None = None,
        details: bytes = b"{}",
        metrics: bytes = b"{}",
        depends_on: bytes = b"[]",
        trace_id: str | None = None,
        sequence: int = 0,
    ) -> bytes:
        """Encode one event as a framed message."""
        ...


class EventEncoder:
    """Encodes the events of one emitter: `pipeline`, `worker` and `emitter_id` are the same in each.

    `frame` starts every message, see `steptrail.schemas.wire.framing`. Thread-safe.
    """

    __slots__ = ("encode",)

    encode: Encode
    """The framed message of one event.

    `event_id` and `execution_id` have 16 bytes, `timestamp` is in microseconds, `status_code` is
    `ProcessingStatus.code`. `doc_id` is UTF-8; `details`, `metrics`, `depends_on` are the UTF-8 text of JSON: what
    `steptrail.schemas.values.values` makes. Nothing of that is checked here. Texts are to be clean: raises
    UnicodeEncodeError for a lone surrogate.
    """

    def __init__(
        self, pipeline: str, worker: str, emitter_id: bytes, frame: bytes = SINGLE_OBJECT_PREFIX
    ) -> None:
        self.encode = _encoder(frame, _text(pipeline.encode()), _text(worker.encode()) + emitter_id)


def _encoder(head: bytes, pipeline: bytes, tail: bytes) -> Encode:
    """A closure, since its variables are read faster than attributes; for speed, fields that often follow each other
    are one piece of the join.
    """
    names: dict[str, bytes] = {}
    starts = tuple(pipeline + SMALL_LONGS[size] for size in range(_SHORT))  # a document's id follows
    nothing_more = b"\x00\x00\x00" + 2 * _text(NO_VALUES) + _text(NO_NAMES) + _NULL + tail
    no_names = _text(NO_NAMES) + _NULL + tail
    # Tuples, replaced as a whole: another thread sees the old pair or the new one.
    latest_134_seconds = latest_8_ms = (_LONGEST, b"")  # matches the upper bits of no time
    latest_8192_events = (0, SMALL_LONGS, b"")

    def encode(
        event_id: bytes,
        doc_id: bytes,
        step_name: str,
        execution_id: bytes,
        attempt: int,
        status_code: int,
        timestamp: int,
        duration_ms: float | None = None,
        error_type: str | None = None,
        error_message: str | None = None,
        details: bytes = NO_VALUES,
        metrics: bytes = NO_VALUES,
        depends_on: bytes = NO_NAMES,
        trace_id: str | None = None,
        sequence: int = 0,
    ) -> bytes:
        nonlocal latest_134_seconds, latest_8_ms, latest_8192_events
        name = names.get(step_name)
        if name is None:
            if len(names) >= _CACHED_NAMES:
                names.clear()
            name = names[step_name] = _text(step_name.encode())
        doc_size = len(doc_id)
        start = starts[doc_size] if doc_size < _SHORT else pipeline + encode_long(doc_size)
        high, time_end = latest_8_ms
        if timestamp >> 13 == high:
            time_start = _EVEN_PAIRS[timestamp & 0x1FFF]
        elif _TWO_PAIRS <= timestamp < _LONGEST:
            time_start = _EVEN_PAIRS[timestamp & 0x1FFF]
            high, time_end = latest_134_seconds
            if timestamp >> 27 != high:
                time_end = encode_unsigned(timestamp >> 27)
                latest_134_seconds = (timestamp >> 27, time_end)
            time_end = PAIRS[timestamp >> 13 & 0x3FFF] + time_end
            latest_8_ms = (timestamp >> 13, time_end)
        else:
            time_start, time_end = encode_long(timestamp), b""
        high, count_starts, count_end = latest_8192_events
        if sequence >> 13 == high:
            count_start = count_starts[sequence & 0x1FFF]
        elif 0 < sequence >> 13 < _MOST_EVENTS:
            count_start, count_end = _EVEN_PAIRS[sequence & 0x1FFF], encode_unsigned(sequence >> 13)
            latest_8192_events = (sequence >> 13, _EVEN_PAIRS, count_end)
        else:
            count_start, count_end = encode_long(sequence), b""
        if attempt == 1:
            attempt_and_status = _FIRST_AND_STATUS[status_code]
        elif 0 < attempt < _FEW_ATTEMPTS:
            attempt_and_status = _ATTEMPT_AND_STATUS[attempt][status_code]
        else:
            attempt_and_status = encode_long(attempt) + _STATUS[status_code]
        if (
            details is NO_VALUES
            and metrics is NO_VALUES
            and depends_on is NO_NAMES
            and duration_ms is None
            and error_message is None
            and error_type is None
            and trace_id is None
        ):
            return b"".join(
                (
                    head,
                    event_id,
                    start,
                    doc_id,
                    name,
                    execution_id,
                    attempt_and_status,
                    time_start,
                    time_end,
                    nothing_more,
                    count_start,
                    count_end,
                )
            )
        details_size, metrics_size = len(details), len(metrics)
        return b"".join(
            (
                head,
                event_id,
                start,
                doc_id,
                name,
                execution_id,
                attempt_and_status,
                time_start,
                time_end,
                _NULL if duration_ms is None else _pack_some_double(2, duration_ms),
                b"\x00\x00"
                if error_message is None and error_type is None
                else _optional(error_type) + _optional(error_message),
                SMALL_LONGS[details_size] if details_size < _SMALL else encode_long(details_size),
                details,
                SMALL_LONGS[metrics_size] if metrics_size < _SMALL else encode_long(metrics_size),
                metrics,
                no_names
                if trace_id is None and depends_on is NO_NAMES
                else _text(depends_on) + _optional(trace_id) + tail,
                count_start,
                count_end,
            )
        )

    return encode


def _optional(text: str | None) -> bytes:
    return _NULL if text is None else _SOME + _text(text.encode())
