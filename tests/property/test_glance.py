"""The quick look agrees with the strict decoder, but for what the store takes too."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from steptrail.consumers.ingest.prefilter import suspects
from steptrail.schemas.decoder import decode_event
from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.framing import SINGLE_OBJECT_PREFIX
from steptrail.schemas.status import ProcessingStatus
from support.consumed import event_value

TEXT = st.text(max_size=200)
VALUES = st.builds(
    event_value,
    doc_id=TEXT,
    step_name=TEXT,
    attempt=st.integers(1, 2**31 - 1),
    status=st.sampled_from(ProcessingStatus),
    duration_ms=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    error_type=st.none() | TEXT,
    error_message=st.none() | TEXT,
    details=st.sampled_from(["{}", '{"a": 1}', '{"deep": [[{}]], "text": "é"}']),
    depends_on=st.sampled_from(["[]", '["a", "b"]']),
    trace_id=st.none() | TEXT,
    sequence=st.integers(0, 2**63 - 1),
)


def strictly(value: bytes) -> DecodeReason | None:
    try:
        decode_event(value[len(SINGLE_OBJECT_PREFIX) :])
    except EventDecodeError as error:
        return error.reason
    return None


@settings(derandomize=True, max_examples=300)
@given(VALUES)
def test_every_event_looks_right(value: bytes) -> None:
    """No event is a suspect."""
    assert strictly(value) is None
    assert not suspects([value])


@settings(derandomize=True, max_examples=2000)
@given(VALUES, st.data())
def test_damaged_bytes_look_wrong_when_they_are(value: bytes, data: st.DataObject) -> None:
    """Whatever the strict decoder takes looks right; what it refuses does not, but for spelling."""
    body = bytearray(value)
    start = len(SINGLE_OBJECT_PREFIX)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(start, len(body) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "insert", "double"])):
            case "flip":
                body[at] = data.draw(st.integers(0, 255))
            case "cut":
                del body[at : at + data.draw(st.integers(1, 5))]
            case "insert":
                body[at:at] = data.draw(st.binary(min_size=1, max_size=5))
            case _:
                body += body[start:]
        if len(body) <= start:
            break
    damaged = bytes(body)
    reason = strictly(damaged)
    if reason is None:
        assert not suspects([damaged])
    elif not suspects([damaged]):
        assert reason in (DecodeReason.NOT_CANONICAL, DecodeReason.BAD_VALUE, DecodeReason.BAD_JSON)
