"""Avro's variable-length integers: zigzag, 7 bits a byte, lowest first."""

from __future__ import annotations

from typing import Final


def encode_long(number: int) -> bytes:
    """Encode an Avro int or long; raises ValueError beyond 64 bits."""
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{number} does not fit in 64 bits")
    return encode_unsigned((number << 1) ^ (number >> 63))


def encode_unsigned(number: int) -> bytes:
    """Encode a number without zigzag; also a longer number's upper bits, which end it."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


SMALL_LONGS: Final[tuple[bytes, ...]] = tuple(
    bytes((n << 1,)) if n < 0x40 else bytes((n << 1 & 0x7F | 0x80, n >> 6)) for n in range(0x2000)
)
"""The bytes of 0 to 8191, at most two: nearly every length, and the first sequence numbers of an emitter."""

PAIRS: Final[tuple[bytes, ...]] = tuple(bytes((n & 0x7F | 0x80, n >> 7 | 0x80)) for n in range(0x4000))
"""The two bytes of 14 bits of a number that has more: a look-up where the arithmetic takes thrice as long."""
