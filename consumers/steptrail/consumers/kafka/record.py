"""A record of a compacted topic."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """A key and its value; `value` None is a tombstone, `offset` -1 a record that is not yet written."""

    topic: str
    key: str
    value: bytes | None
    offset: int = -1
