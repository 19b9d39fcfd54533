import pytest

from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.event import MAX_EVENT_BYTES
from steptrail.schemas.wire.bundled import STEP_EVENT_FINGERPRINT
from steptrail.schemas.wire.framing import (
    SINGLE_OBJECT_PREFIX,
    Frame,
    confluent_prefix,
    frame_confluent,
    frame_single_object,
    single_object_prefix,
    split_frame,
)


def test_a_single_object_says_its_fingerprint() -> None:
    """C3 01, then the fingerprint as it is on the wire, then the body."""
    message = frame_single_object(b"body")
    assert message == b"\xc3\x01" + STEP_EVENT_FINGERPRINT + b"body"
    assert split_frame(message) == Frame("single-object", 10, fingerprint=STEP_EVENT_FINGERPRINT)


def test_a_registrys_message_says_its_schema_id() -> None:
    """00, then the id in 4 bytes, big-endian, then the body."""
    message = frame_confluent(0x01020304, b"body")
    assert message == b"\x00\x01\x02\x03\x04body"
    assert split_frame(message) == Frame("confluent", 5, schema_id=0x01020304)


def test_bad_parts_of_a_frame_are_refused_when_written() -> None:
    """A fingerprint of another length or an id beyond 32 bits cannot be framed."""
    with pytest.raises(ValueError, match="8 bytes"):
        single_object_prefix(b"1234")
    with pytest.raises(ValueError, match="2\\^32"):
        confluent_prefix(-1)


@pytest.mark.parametrize(
    ("value", "reason", "position"),
    [
        (None, DecodeReason.EMPTY, None),
        (b"", DecodeReason.EMPTY, None),
        (b"\xc3", DecodeReason.BAD_FRAME, 1),
        (b"\xc3\x02" + bytes(20), DecodeReason.BAD_FRAME, 1),
        (b"\xc3\x01" + bytes(7), DecodeReason.BAD_FRAME, 9),
        (b"\x00\x00\x00\x01", DecodeReason.BAD_FRAME, 4),
        (b'{"json": 1}', DecodeReason.BAD_FRAME, 0),
        (SINGLE_OBJECT_PREFIX + bytes(MAX_EVENT_BYTES + 1), DecodeReason.TOO_LARGE, None),
    ],
)
def test_other_messages_are_refused_with_their_reason(
    value: bytes | None, reason: DecodeReason, position: int | None
) -> None:
    """What is neither framing, cut within it, or too large is told apart."""
    with pytest.raises(EventDecodeError) as caught:
        split_frame(value)
    assert (caught.value.reason, caught.value.position) == (reason, position)


def test_the_longest_event_passes() -> None:
    """The limit counts the event without its frame."""
    assert split_frame(SINGLE_OBJECT_PREFIX + bytes(MAX_EVENT_BYTES)).length == 10
