"""How far the consume loop is, handed from its thread to those that judge and count."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from steptrail.consumers.loop.buffer import ConsumedBatch

_MOST_SPANS = 1000


@dataclass(frozen=True)
class AppliedBatch:
    """A batch is in the tables: the broker time (seconds) of the last record of each of its partitions.

    `late`: records that were appended before the watermark that stood when the batch was written.
    """

    latest: Mapping[int, float]
    late: int


@dataclass(frozen=True)
class WrittenSpan:
    """A batch is in the tables: its least and greatest broker time, and the offset after its last by partition."""

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
        self._ends: dict[int, tuple[int, int]] = {}  # partition -> position there, end
        self._written: dict[int, int] = {}
        self.watermark: float | None = None
        """The judge's watermark: records appended before it that are written now are late."""

    def batch_written(self, batch: ConsumedBatch, partitions: frozenset[int]) -> None:
        """A batch was written, for these partitions."""
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
        """A partition was read up to `end`; `position` is the offset after its last record."""
        with self._lock:
            self._ends[partition] = (position, end)
        self._news.set()

    def stands_at(self, written: Mapping[int, int]) -> None:
        """The offset after the last one that is written, by held partition."""
        with self._lock:
            self._written = dict(written)

    def take(self) -> list[AppliedBatch]:
        """The batches since the last call."""
        with self._lock:
            taken, self._applied = self._applied, []
            self._news.clear()
            return taken

    def take_written(self) -> list[WrittenSpan]:
        """The spans written since the last call; the latest are merged where there are very many."""
        with self._lock:
            taken, self._spans = self._spans, []
            return taken

    def consumed(self) -> dict[int, int]:
        """By partition the end up to which everything is in the tables, where its end has been seen."""
        with self._lock:
            return {
                partition: end
                for partition, (position, end) in self._ends.items()
                if self._written.get(partition, -1) >= position
            }

    def written(self) -> dict[int, int]:
        """The offset after the last one that is written, by partition."""
        with self._lock:
            return dict(self._written)

    def wait(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for a batch or an end."""
        self._news.wait(timeout)


def _merged(one: WrittenSpan, other: WrittenSpan) -> WrittenSpan:
    reached = {p: max(one.reached.get(p, 0), other.reached.get(p, 0)) for p in {*one.reached, *other.reached}}
    return WrittenSpan(min(one.first_ms, other.first_ms), max(one.last_ms, other.last_ms), reached)
