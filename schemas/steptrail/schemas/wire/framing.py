"""The frame before an event's bytes in a message; it identifies the writer's schema.

The default is Avro's single-object encoding: `C3 01` and an 8-byte fingerprint. With a schema registry it is
Confluent's: `00` and a 4-byte schema id, big-endian. Readers accept both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from steptrail.schemas.errors import DecodeReason, EventDecodeError
from steptrail.schemas.event import MAX_EVENT_BYTES
from steptrail.schemas.wire.bundled import STEP_EVENT_FINGERPRINT

SINGLE_OBJECT_MARKER: Final = b"\xc3\x01"
SINGLE_OBJECT_PREFIX: Final = SINGLE_OBJECT_MARKER + STEP_EVENT_FINGERPRINT
"""The 10 bytes before each event that this version writes without a registry."""

_SINGLE_OBJECT_LENGTH: Final = 10
_CONFLUENT_LENGTH: Final = 5


@dataclass(frozen=True, slots=True)
class Frame:
    """A message's writer schema; the event's body starts at byte `length`.

    Exactly one of `fingerprint` (8 bytes as on the wire) and `schema_id` is set, according to `kind`.
    """

    kind: Literal["single-object", "confluent"]
    length: int
    fingerprint: bytes | None = None
    schema_id: int | None = None


def single_object_prefix(fingerprint: bytes) -> bytes:
    """The frame for a schema fingerprint (8 bytes as on the wire)."""
    if len(fingerprint) != 8:
        raise ValueError(f"a CRC-64-AVRO fingerprint has 8 bytes, not {len(fingerprint)}")
    return SINGLE_OBJECT_MARKER + fingerprint


def confluent_prefix(schema_id: int) -> bytes:
    """The frame for a registry's schema id (0 to 2^32 - 1)."""
    if not 0 <= schema_id < 2**32:
        raise ValueError(f"a schema id is between 0 and 2^32 - 1, not {schema_id}")
    return b"\x00" + schema_id.to_bytes(4, "big")


def frame_single_object(body: bytes) -> bytes:
    """Frame an event's body for readers that bundle the schema."""
    return SINGLE_OBJECT_PREFIX + body


def frame_confluent(schema_id: int, body: bytes) -> bytes:
    """Frame an event's body for readers that use a schema registry."""
    return confluent_prefix(schema_id) + body


def split_frame(value: bytes | None) -> Frame:
    """Parse the frame of a message's value.

    Raises EventDecodeError: EMPTY for an empty value, BAD_FRAME for an unknown framing, TOO_LARGE for a body beyond
    what emitters send.
    """
    if not value:
        raise EventDecodeError(DecodeReason.EMPTY, "the message has no value")
    if value.startswith(SINGLE_OBJECT_MARKER):
        if len(value) < _SINGLE_OBJECT_LENGTH:
            raise _cut(value)
        frame = Frame("single-object", _SINGLE_OBJECT_LENGTH, fingerprint=value[2:_SINGLE_OBJECT_LENGTH])
    elif value[0] == 0:
        if len(value) < _CONFLUENT_LENGTH:
            raise _cut(value)
        schema_id = int.from_bytes(value[1:_CONFLUENT_LENGTH], "big")
        frame = Frame("confluent", _CONFLUENT_LENGTH, schema_id=schema_id)
    else:
        known = 1 if value[0] == SINGLE_OBJECT_MARKER[0] else 0
        raise EventDecodeError(
            DecodeReason.BAD_FRAME,
            f"the message starts with {value[:2].hex(' ')}, expected c3 01 (Avro single object) or 00 (Confluent)",
            position=known,
        )
    if len(value) - frame.length > MAX_EVENT_BYTES:
        raise EventDecodeError(
            DecodeReason.TOO_LARGE,
            f"the event has {len(value) - frame.length} bytes, at most {MAX_EVENT_BYTES} are allowed",
        )
    return frame


def _cut(value: bytes) -> EventDecodeError:
    return EventDecodeError(
        DecodeReason.BAD_FRAME, f"the frame ends after {len(value)} bytes", position=len(value)
    )
