"""The hand-made codec against fastavro, and against whatever bytes there are."""

import dataclasses
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steptrail.schemas.errors import EventDecodeError
from steptrail.schemas.event import MAX_TIMESTAMP_US, MIN_TIMESTAMP_US, StepEvent
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.values.values import json_array, json_object
from steptrail.schemas.wire.bundled import STEP_EVENT_SCHEMA, plain_schema
from steptrail.schemas.wire.codec import EventEncoder, encode_event
from steptrail.schemas.wire.decoder import decode_event
from support.effort import effort

PLAIN = fastavro.parse_schema(plain_schema(STEP_EVENT_SCHEMA))

texts = st.text(st.characters(codec="utf-8"), max_size=30) | st.integers(500, 1100).map(
    lambda size: "ü" * size
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, json_values, max_size=4).map(lambda value: json_object(value)[0].decode())
longs = st.integers(0, 2**62 - 1) | st.integers(0, 2**20) | st.sampled_from([8191, 8192, 8388607, 8388608])
times = st.integers(MIN_TIMESTAMP_US, MAX_TIMESTAMP_US) | st.sampled_from(
    [2**27 - 1, 2**27, 0, -1, 1_763_919_000_123_456, MIN_TIMESTAMP_US, MAX_TIMESTAMP_US]
)
events = st.builds(
    StepEvent,
    event_id=st.binary(min_size=16, max_size=16),
    pipeline=texts,
    doc_id=texts,
    step_name=texts,
    execution_id=st.binary(min_size=16, max_size=16),
    attempt=st.integers(1, 2**31 - 1),
    status=st.sampled_from(ProcessingStatus),
    timestamp=times,
    duration_ms=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    error_type=st.none() | texts,
    error_message=st.none() | texts,
    details=objects,
    metrics=objects,
    depends_on=st.lists(texts, max_size=3).map(lambda names: json_array(names)[0].decode()),
    trace_id=st.none() | texts,
    worker=texts,
    emitter_id=st.binary(min_size=8, max_size=8),
    sequence=longs,
)


def written_by_fastavro(event: StepEvent) -> bytes:
    values: dict[str, Any] = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    out = BytesIO()
    fastavro.schemaless_writer(out, PLAIN, {**values, "status": event.status.code})
    return out.getvalue()


def refused_or_the_same(body: bytes) -> None:
    """A strict decoder takes bytes only when they are the one spelling of what they say."""
    try:
        event = decode_event(body)
    except EventDecodeError as error:
        if error.position is not None and not 0 <= error.position <= len(body):
            raise AssertionError(f"byte {error.position} of {len(body)}") from error
    else:
        assert encode_event(event) == body


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(120, 300), deadline=None)
@given(events)
def test_the_bytes_are_fastavros(event: StepEvent) -> None:
    """Every event is encoded as fastavro does, byte for byte, and decodes to itself."""
    body = encode_event(event)
    assert body == written_by_fastavro(event)
    assert decode_event(body) == event


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.lists(events, min_size=2, max_size=4))
def test_an_emitters_encoder_writes_the_same(many: list[StepEvent]) -> None:
    """One encoder for many events of an emitter writes what a fresh one does for each."""
    first = many[0]
    encoder = EventEncoder(first.pipeline, first.worker, first.emitter_id)
    for event in many:
        mine = dataclasses.replace(
            event, pipeline=first.pipeline, worker=first.worker, emitter_id=first.emitter_id
        )
        message = encoder.encode(
            mine.event_id,
            mine.doc_id.encode(),
            mine.step_name,
            mine.execution_id,
            mine.attempt,
            mine.status.code,
            mine.timestamp,
            mine.duration_ms,
            mine.error_type,
            mine.error_message,
            mine.details.encode(),
            mine.metrics.encode(),
            mine.depends_on.encode(),
            mine.trace_id,
            mine.sequence,
        )
        assert message[10:] == written_by_fastavro(mine)


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(80, 200), deadline=None)
@given(events, st.lists(st.integers(-(2**62), 2**62), min_size=2, max_size=6))
def test_an_event_with_nothing_in_it_is_written_the_same(event: StepEvent, times: list[int]) -> None:
    """Without details, metrics or an ending, which is encoded by a shorter way, at near and at far times."""
    encoder = EventEncoder(event.pipeline, event.worker, event.emitter_id)
    for time in [event.timestamp, event.timestamp + 8_191, *times, event.timestamp]:
        bare = dataclasses.replace(
            event,
            timestamp=time,
            duration_ms=None,
            error_type=None,
            error_message=None,
            details="{}",
            metrics="{}",
            depends_on="[]",
            trace_id=None,
        )
        message = encoder.encode(
            bare.event_id,
            bare.doc_id.encode(),
            bare.step_name,
            bare.execution_id,
            bare.attempt,
            bare.status.code,
            bare.timestamp,
            sequence=bare.sequence,
        )
        assert message[10:] == written_by_fastavro(bare)


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(40, 100), deadline=None)
@given(events, st.data())
def test_cut_or_longer_bodies_are_refused(event: StepEvent, data: st.DataObject) -> None:
    """No event's bytes are the start of another's."""
    body = encode_event(event)
    cut = data.draw(st.integers(0, len(body) - 1))
    more = data.draw(st.binary(min_size=1, max_size=20))
    for wrong in (body[:cut], body + more):
        try:
            decode_event(wrong)
        except EventDecodeError:
            continue
        raise AssertionError("a body of another length was taken")


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(100, 500), deadline=None)
@given(events, st.data())
def test_mutations_are_refused_or_are_other_events(event: StepEvent, data: st.DataObject) -> None:
    """Bytes changed, put in or taken out anywhere decode to an event with these very bytes, or not at all."""
    body = bytearray(encode_event(event))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        taken = data.draw(st.integers(0, 3))
        body[at : at + taken] = data.draw(
            st.binary(max_size=3) | st.sampled_from([b"\x80\x00", b"\x01", b"\xff"])
        )
        if not body:
            break
    refused_or_the_same(bytes(body))


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(120, 300), deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_an_event(body: bytes) -> None:
    """Whatever lies on the topic, decoding raises nothing but EventDecodeError."""
    refused_or_the_same(body)
