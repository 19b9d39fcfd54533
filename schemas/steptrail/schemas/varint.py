"""Avro's variable-length integers: zigzag, 7 bits a byte, lowest first."""

from __future__ import annotations

from typing import Final


def encode_long(number: int) -> bytes:
    """The bytes of an Avro int or long; ValueError outside of 64 bits."""
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{number} does not fit in 64 bits")
    rest = (number << 1) ^ (number >> 63)
    if rest < 0x80:
        return _ONE_BYTE[rest]
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


_ONE_BYTE: Final = tuple(bytes((n,)) for n in range(0x80))

SMALL_LONGS: Final[tuple[bytes, ...]] = tuple(encode_long(n) for n in range(1024))
"""The bytes of 0 to 1023: nearly every length and attempt that there is."""
