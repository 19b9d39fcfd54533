"""Partitioning of events: the only definition of key and hash.

All events of a document share a key, hence a partition, hence they stay ordered. The hash is that of the Java
clients (murmur2), so that producers in any language agree; librdkafka computes it with PARTITIONER.
"""

from __future__ import annotations

from typing import Final

PARTITIONER: Final = "murmur2_random"
"""librdkafka's name of Java's default: murmur2 of the key, at random without a key."""

_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def message_key(pipeline: str, doc_id: str) -> bytes:
    """The key of a document's events."""
    return f"{pipeline}/{doc_id}".encode()


def murmur2(data: bytes) -> int:
    """The 32-bit hash of Kafka's Java clients, unsigned (Java shows it signed)."""
    length = len(data)
    value = 0x9747B28C ^ length
    whole = length & ~3
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * _M & _MASK
        k ^= k >> 24
        value = (value * _M & _MASK) ^ (k * _M & _MASK)
    if length > whole:
        value ^= int.from_bytes(data[whole:], "little")
        value = value * _M & _MASK
    value ^= value >> 13
    value = value * _M & _MASK
    return value ^ value >> 15


def partition_for(key: bytes, partitions: int) -> int:
    """The partition, of `partitions`, for a message with this key."""
    if partitions < 1:
        raise ValueError(f"a topic has at least 1 partition, not {partitions}")
    return (murmur2(key) & 0x7FFFFFFF) % partitions
