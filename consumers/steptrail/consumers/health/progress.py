"""Passes the consume loop's progress to the threads that judge and count."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from steptrail.consumers.loop.buffer import ConsumedBatch

_MOST_SPANS = 1000


@dataclass(frozen=True)
class AppliedBatch:
    """A written batch: the broker time (seconds) of the last record of each of its partitions.

    `late`: number of records appended before the watermark at the time of writing.
    """

    latest: Mapping[int, float]
    late: int


@dataclass(frozen=True)
class WrittenSpan:
    """A written batch: its least and greatest broker time, and by partition the offset after its last record."""

    first_ms: int
    last_ms: int
    reached: Mapping[int, int]


class Progress:
    """The consume loop's observer (`steptrail.consumers.loop.observer`), read by the threads that judge and count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._applied: list[AppliedBatch] = []
        self._spans: list[WrittenSpan] = []
        self._ends: dict[int, tuple[int, int]] = {}  # partition -> (position, end)
        self._written: dict[int, int] = {}
        self.watermark: float | None = None
        """The judge's watermark: records appended before it that are written now are late."""

    def batch_written(self, batch: ConsumedBatch, partitions: frozenset[int]) -> None:
        """See LoopObserver."""
        latest: dict[int, float] = {}
        for message in reversed(batch.messages):
            partition = message.partition()
            if partition is not None and partition not in latest:
                latest[partition] = message.timestamp()[1] / 1000
                if len(latest) == len(batch.starts):
                    break
        late = 0
        if self.watermark is not None and batch.batch.first_time_ms < self.watermark * 1000:
            before_ms = self.watermark * 1000
            late = sum(1 for message in batch.messages if message.timestamp()[1] < before_ms)
        spans = batch.batch.spans
        reached = {partition: spans[partition].last + 1 for partition in partitions}
        span = WrittenSpan(batch.batch.first_time_ms, batch.batch.last_time_ms, reached)
        with self._lock:
            self._applied.append(AppliedBatch({p: at for p, at in latest.items() if p in partitions}, late))
            if self._spans and len(self._spans) >= _MOST_SPANS:
                span = _merged(self._spans.pop(), span)
            self._spans.append(span)
        self._news.set()

    def reached_end(self, partition: int, position: int, end: int) -> None:
        """See LoopObserver."""
        with self._lock:
            self._ends[partition] = (position, end)
        self._news.set()

    def stands_at(self, written: Mapping[int, int]) -> None:
        """See LoopObserver."""
        with self._lock:
            self._written = dict(written)

    def take(self) -> list[AppliedBatch]:
        """The batches since the last call."""
        with self._lock:
            taken, self._applied = self._applied, []
            self._news.clear()
            return taken

    def take_written(self) -> list[WrittenSpan]:
        """The spans written since the last call; if there are very many, the latest are merged."""
        with self._lock:
            taken, self._spans = self._spans, []
            return taken

    def consumed(self) -> dict[int, int]:
        """By partition, the end offset up to which everything is in the tables, if its end has been seen."""
        with self._lock:
            return {
                partition: end
                for partition, (position, end) in self._ends.items()
                if self._written.get(partition, -1) >= position
            }

    def written(self) -> dict[int, int]:
        """By partition, the offset after the last written record."""
        with self._lock:
            return dict(self._written)

    def wait(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for a batch or an end."""
        self._news.wait(timeout)


def _merged(one: WrittenSpan, other: WrittenSpan) -> WrittenSpan:
    reached = {p: max(one.reached.get(p, 0), other.reached.get(p, 0)) for p in {*one.reached, *other.reached}}
    return WrittenSpan(min(one.first_ms, other.first_ms), max(one.last_ms, other.last_ms), reached)
