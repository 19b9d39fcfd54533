"""Segments of journals as a process fills them, and what can be read of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from steptrail.producers.accounting import Counters
from steptrail.producers.persistence.journal import PLACED, Journal
from steptrail.producers.persistence.journal_file import OVERHEAD, RECORD, Segment

TOPIC = "steptrail.steps.v1"

Message = tuple[bytes, bytes]


def append(segment: Segment, key: bytes, value: bytes) -> int:
    """Write a message, as a Journal does; where it is."""
    both = key + value
    at = segment.used
    segment.used = end = at + OVERHEAD + len(both)
    segment.records += 1
    checksum = zlib.adler32(both, len(key))
    segment.map[at:end] = RECORD.pack(segment.marker, checksum, len(both), len(key)) + both
    return at


def fill(segment: Segment, messages: Iterable[Message]) -> list[int]:
    """Write messages; where they are."""
    return [append(segment, key, value) for key, value in messages]


def held(segment: Segment) -> list[Message]:
    """The messages that are still to be sent."""
    return [(record.key, record.value) for record in segment.read()]


class Line:
    """A journal with a client that answers when it is told to."""

    def __init__(self, folder: Path, *, max_bytes: int = 1 << 30) -> None:
        self.counters = Counters()
        self.journal = Journal(folder, TOPIC, self.counters, max_bytes=max_bytes)
        self.sent: list[tuple[bytes, list[Any]]] = []
        self.keep = self.journal.keeping()

    def emit(self, key: bytes, value: bytes, kept: list[Any] | None = None) -> None:
        """As a source does."""
        self.counters.accept()
        kept = [] if kept is None else kept
        self.keep(key, value, kept)
        self.sent.append((value, kept))

    def answer(self, count: int | None = None) -> None:
        """Confirm the first messages that were sent; all unless told."""
        answered, self.sent = self.sent[:count], self.sent[len(self.sent[:count]) :]
        for _, kept in answered:
            self.answer_one(kept)

    def answer_one(self, kept: list[Any]) -> None:
        """Confirm the message with this list."""
        if len(kept) == PLACED:
            self.journal.done(*kept)
        self.counters.deliver(0, 0)


def left_in(folder: Path) -> list[Message]:
    """What the journals of ended processes in a folder still hold, in the order of their names; it stays there."""
    found: list[Message] = []
    for path in sorted(folder.glob("*.journal")):
        segment = Segment.take_over(path, TOPIC)
        found += held(segment)
        segment.close()
    return found
