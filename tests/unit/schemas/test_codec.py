import dataclasses
import io
import pickle
from typing import Any

import fastavro
import pytest

from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.event import MAX_EVENT_BYTES, MAX_TIMESTAMP_US, MIN_TIMESTAMP_US, StepEvent
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.wire.codec import EventEncoder, encode_event
from steptrail.schemas.wire.decoder import decode_event, decode_fields
from steptrail.schemas.wire.varint import encode_long

EVENT = StepEvent(
    event_id=bytes(range(16)),
    pipeline="default",
    doc_id="d1",
    step_name="ocr",
    execution_id=bytes(range(16, 32)),
    attempt=1,
    status=ProcessingStatus.SUCCESS,
    timestamp=1_763_919_000_123_456,
    duration_ms=12.5,
    error_type=None,
    error_message=None,
    details='{"a":1}',
    metrics="{}",
    depends_on="[]",
    trace_id=None,
    worker="host:1",
    emitter_id=b"emitter!",
    sequence=7,
)
BODY = encode_event(EVENT)
# Where each field starts, by hand: 16 of event_id, 1 + 7 pipeline, 1 + 2 doc_id, 1 + 3 step_name, 16 execution_id.
DOC_ID, EXECUTION_ID, ATTEMPT, STATUS, TIMESTAMP, DURATION, ERROR_TYPE = 24, 31, 47, 48, 49, 57, 66


def spliced(start: int, end: int, new: bytes) -> bytes:
    return BODY[:start] + new + BODY[end:]


def refused(body: bytes) -> EventDecodeError:
    with pytest.raises(EventDecodeError) as caught:
        decode_event(body)
    return caught.value


@pytest.mark.parametrize(
    ("body", "reason", "field", "position"),
    [
        (b"", DecodeReason.TRUNCATED, "event_id", 0),
        (BODY[:-1], DecodeReason.TRUNCATED, "sequence", len(BODY) - 1),
        (BODY[:60], DecodeReason.TRUNCATED, "duration_ms", 60),
        (BODY[:26], DecodeReason.TRUNCATED, "doc_id", 26),
        (BODY + b"\x00", DecodeReason.TRAILING_BYTES, None, len(BODY)),
        (BODY + BODY, DecodeReason.TRAILING_BYTES, None, len(BODY)),
        (spliced(ATTEMPT, STATUS, b"\x82\x00"), DecodeReason.NOT_CANONICAL, "attempt", ATTEMPT + 1),
        (
            spliced(ATTEMPT, STATUS, b"\x82" * 10 + b"\x00"),
            DecodeReason.NOT_CANONICAL,
            "attempt",
            ATTEMPT + 10,
        ),
        (spliced(ATTEMPT, STATUS, b"\x00"), DecodeReason.BAD_VALUE, "attempt", ATTEMPT),
        (spliced(ATTEMPT, STATUS, encode_long(-1)), DecodeReason.BAD_VALUE, "attempt", ATTEMPT),
        (spliced(ATTEMPT, STATUS, encode_long(2**31)), DecodeReason.BAD_VALUE, "attempt", ATTEMPT),
        (spliced(STATUS, TIMESTAMP, encode_long(7)), DecodeReason.BAD_STATUS, "status", STATUS),
        (spliced(STATUS, TIMESTAMP, encode_long(-1)), DecodeReason.BAD_STATUS, "status", STATUS),
        (spliced(STATUS, TIMESTAMP, encode_long(2**40)), DecodeReason.BAD_STATUS, "status", STATUS),
        (
            spliced(TIMESTAMP, DURATION, encode_long(MIN_TIMESTAMP_US - 1)),
            DecodeReason.BAD_TIMESTAMP,
            "timestamp",
            TIMESTAMP,
        ),
        (
            spliced(TIMESTAMP, DURATION, encode_long(MAX_TIMESTAMP_US + 1)),
            DecodeReason.BAD_TIMESTAMP,
            "timestamp",
            TIMESTAMP,
        ),
        (
            spliced(TIMESTAMP, DURATION, b"\xff" * 9 + b"\x02"),
            DecodeReason.BAD_VALUE,
            "timestamp",
            TIMESTAMP,
        ),
        (spliced(DURATION, DURATION + 1, b"\x01"), DecodeReason.BAD_VALUE, "duration_ms", DURATION),
        (spliced(DURATION, DURATION + 1, b"\x04"), DecodeReason.BAD_VALUE, "duration_ms", DURATION),
        (spliced(DOC_ID, DOC_ID + 1, b"\x03"), DecodeReason.BAD_VALUE, "doc_id", DOC_ID),
        (spliced(DOC_ID, DOC_ID + 3, b"\x04a\xff"), DecodeReason.BAD_UTF8, "doc_id", DOC_ID + 2),
        (spliced(DOC_ID, DOC_ID + 3, b"\x06\xed\xb3\xbf"), DecodeReason.BAD_UTF8, "doc_id", DOC_ID + 1),
        (bytes(MAX_EVENT_BYTES + 1), DecodeReason.TOO_LARGE, None, None),
    ],
)
def test_what_no_encoder_of_ours_writes_is_refused(
    body: bytes, reason: DecodeReason, field: str | None, position: int | None
) -> None:
    """Each fault has its reason, the field it lies in and the byte where it shows."""
    error = refused(body)
    assert (error.reason, error.field, error.position) == (reason, field, position)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"duration_ms": float("nan")}, DecodeReason.BAD_VALUE),
        ({"duration_ms": float("inf")}, DecodeReason.BAD_VALUE),
        ({"details": ""}, DecodeReason.BAD_JSON),
        ({"details": "[]"}, DecodeReason.BAD_JSON),
        ({"details": ' {"a":1}'}, DecodeReason.BAD_JSON),
        ({"details": '\ufeff{"a":1}'}, DecodeReason.BAD_JSON),
        ({"details": '{"a":1e999}'}, DecodeReason.BAD_JSON),
        ({"details": '{"a":"\\ud800"}'}, DecodeReason.BAD_JSON),
        ({"details": '{"a":NaN}'}, DecodeReason.BAD_JSON),
        ({"details": '{"a":' + "[" * 1500 + "]" * 1500 + "}"}, DecodeReason.BAD_JSON),
        ({"metrics": "null"}, DecodeReason.BAD_JSON),
        ({"depends_on": "{}"}, DecodeReason.BAD_JSON),
        ({"depends_on": '["a"'}, DecodeReason.BAD_JSON),
        ({"sequence": -1}, DecodeReason.BAD_VALUE),
    ],
)
def test_values_that_the_tables_cannot_hold_are_refused(change: dict[str, Any], reason: DecodeReason) -> None:
    """A well-formed record with a bad value is refused, and the field is named."""
    error = refused(encode_event(dataclasses.replace(EVENT, **change)))
    assert (error.reason, error.field) == (reason, next(iter(change)))


def test_an_error_never_quotes_the_event() -> None:
    """What stands in a document stays out of logs."""
    error = refused(encode_event(dataclasses.replace(EVENT, details='{"a": geheim}')))
    assert "geheim" not in str(error)
    assert "BAD_JSON in details at byte" in str(error)


def test_a_decode_error_can_be_sent_between_processes() -> None:
    """Pickling keeps reason, field and position."""
    error = refused(BODY[:-1])
    again = pickle.loads(pickle.dumps(error))
    assert (again.reason, again.field, again.position, str(again)) == (
        error.reason,
        error.field,
        error.position,
        str(error),
    )


def test_the_ends_of_the_ranges_are_in() -> None:
    """The first and last times, the largest attempt and the largest sequence survive."""
    for event in (
        dataclasses.replace(EVENT, timestamp=MIN_TIMESTAMP_US),
        dataclasses.replace(EVENT, timestamp=MAX_TIMESTAMP_US),
        dataclasses.replace(EVENT, attempt=2**31 - 1, sequence=2**62 - 1),
        dataclasses.replace(EVENT, sequence=0),
    ):
        assert decode_event(encode_event(event)) == event


@pytest.mark.parametrize(
    "change",
    [
        {"event_id": b"short"},
        {"execution_id": bytes(17)},
        {"emitter_id": b""},
        {"attempt": 2**31},
        {"sequence": 2**63},
        {"timestamp": -(2**63) - 1},
        {"doc_id": "\udcff"},
    ],
)
def test_what_avro_cannot_write_is_refused(change: dict[str, Any]) -> None:
    """Ids of another length, numbers beyond their bits and lone surrogates raise a ValueError."""
    with pytest.raises(ValueError):
        encode_event(dataclasses.replace(EVENT, **change))


def test_an_encoder_keeps_what_its_events_share() -> None:
    """Events of one encoder are the frame and the bytes of `encode_event`, from many names and times on."""
    encoder = EventEncoder(EVENT.pipeline, EVENT.worker, EVENT.emitter_id, b"frame")
    for number in range(3000):
        event = dataclasses.replace(
            EVENT,
            step_name=f"step-{number % 1500}",
            doc_id="d" * (number % 1100),
            timestamp=EVENT.timestamp + number * 1_000_003 * (number % 7),
            sequence=number * number,
            attempt=number + 1,
        )
        message = encoder.encode(
            event.event_id,
            event.doc_id.encode(),
            event.step_name,
            event.execution_id,
            event.attempt,
            event.status.code,
            event.timestamp,
            event.duration_ms,
            details=event.details.encode(),
            sequence=event.sequence,
        )
        assert message == b"frame" + encode_event(event)
        assert decode_event(message[5:]) == event


def test_an_encoder_counts_to_and_fro() -> None:
    """Threads of one emitter share an encoder, so sequence numbers of any order and size are written as Avro does."""
    encoder = EventEncoder(EVENT.pipeline, EVENT.worker, EVENT.emitter_id, b"")
    ends = (0, 64, 1024, 8192, 16_384, 1 << 20, 1 << 27, 1 << 34, (1 << 62) - 3)
    for sequence in [
        near + more for near in (*ends, *reversed(ends)) for more in (-1, 0, 1, 2) if near + more >= 0
    ]:
        for attempt in (1, 2, 63, 64):
            event = dataclasses.replace(
                EVENT, sequence=sequence, attempt=attempt, duration_ms=None, details="{}", metrics="{}"
            )
            message = encoder.encode(
                event.event_id,
                event.doc_id.encode(),
                event.step_name,
                event.execution_id,
                attempt,
                event.status.code,
                event.timestamp,
                sequence=sequence,
            )
            assert decode_event(message) == event


@pytest.mark.parametrize("number", [0, 1, -1, 63, 64, -65, 2**31, -(2**63), 2**63 - 1])
def test_a_long_is_encoded_as_avro_does(number: int) -> None:
    """Also the sizes and counts of a container file."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", number)
    assert encode_long(number) == out.getvalue()


def test_reading_fields_stops_where_it_is_asked_to() -> None:
    """What is wrong behind the last field that is wanted is not looked at."""
    body = encode_event(EVENT)[:-1]
    fields, fault = decode_fields(body, last="step_name")
    assert [field.name for field in fields] == ["event_id", "pipeline", "doc_id", "step_name"]
    assert fault is None
    fields, fault = decode_fields(body)
    assert fields[-1].name == "emitter_id"
    assert fault is not None
    assert fault.field == "sequence"
