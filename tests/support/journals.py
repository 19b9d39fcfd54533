"""Segments of journals as a process fills them, and what can be read of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from steptrail.producers.accounting import Counters
from steptrail.producers.journal import Journal
from steptrail.producers.journal_file import OVERHEAD, RECORD, Segment

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
        self.sent: list[tuple[bytes, Any]] = []
        self.not_sent: list[tuple[Exception, Segment, int]] = []
        self.raises: BaseException | None = None
        self.produce = self.journal.producing(self._send, self._reported, self._not_sent)

    def emit(self, key: bytes, value: bytes) -> None:
        """As a source does."""
        self.counters.accept()
        self.produce(TOPIC, value, key, -1, self._plain)

    def answer(self, count: int | None = None) -> None:
        """Confirm the first messages that were sent; all unless told."""
        answered, self.sent = self.sent[:count], self.sent[len(self.sent[:count]) :]
        for _, report in answered:
            report(None, SimpleNamespace(partition=lambda: 0, offset=lambda: 0))

    def _send(self, _topic: str, value: bytes, _key: bytes, _partition: int, on_report: Any) -> None:
        if self.raises is not None:
            on_report = None  # as librdkafka, the client does not hold on to it then
            raise self.raises
        self.sent.append((value, on_report))

    def _plain(self, _error: Any, _message: Any) -> None:
        self.counters.deliver(0, 0)

    def _reported(self, segment: Segment, at: int, error: Any, message: Any) -> None:
        self.journal.done(segment, at)
        self._plain(error, message)

    def _not_sent(self, error: Exception, segment: Segment, at: int) -> None:
        self.not_sent.append((error, segment, at))


def left_in(folder: Path) -> list[Message]:
    """What the journals of ended processes in a folder still hold, in the order of their names; it stays there."""
    found: list[Message] = []
    for path in sorted(folder.glob("*.journal")):
        segment = Segment.take_over(path, TOPIC)
        found += held(segment)
        segment.close()
    return found
