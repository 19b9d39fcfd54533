"""How far the consume loop is, handed from its thread to the one that judges."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from steptrail.consumers.loop.buffer import ConsumedBatch
from steptrail.consumers.loop.monitor import Monitor, Written
from steptrail.consumers.loop.partitions import Held

_MOST_SPANS = 1000


@dataclass(frozen=True)
class Applied:
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
    """Written by the consume loop, read by the judge; safe for both."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._applied: list[Applied] = []
        self._spans: list[WrittenSpan] = []
        self._ends: dict[int, tuple[int, int]] = {}  # partition -> position there, end
        self._written: dict[int, int] = {}
        self.watermark: float | None = None
        """Where the judge's watermark stands, for counting what comes late."""

    def applied(self, batch: ConsumedBatch, partitions: Iterable[int]) -> None:
        """A batch was written, for these partitions."""
        done = frozenset(partitions)
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
        reached = {partition: spans[partition].last + 1 for partition in done}
        span = WrittenSpan(batch.batch.first_time_ms, batch.batch.last_time_ms, reached)
        with self._lock:
            self._applied.append(Applied({p: at for p, at in latest.items() if p in done}, late))
            if self._spans and len(self._spans) >= _MOST_SPANS:
                span = _merged(self._spans.pop(), span)
            self._spans.append(span)
        self._news.set()

    def reached_end(self, partition: int, position: int, end: int) -> None:
        """A partition was read up to `end`; `position` is the offset after its last record."""
        with self._lock:
            self._ends[partition] = (position, end)
        self._news.set()

    def stands(self, written: Mapping[int, int]) -> None:
        """The offset after the last one that is written, by held partition."""
        with self._lock:
            self._written = dict(written)

    def take(self) -> list[Applied]:
        """What was applied since the last call."""
        with self._lock:
            taken, self._applied = self._applied, []
            self._news.clear()
            return taken

    def take_written(self) -> list[WrittenSpan]:
        """The batches that were written since the last call; many are told as one."""
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

    def forget(self) -> None:
        """Another member reads now."""
        with self._lock:
            self._applied, self._spans, self._ends, self._written = [], [], {}, {}

    def wait(self, timeout: float) -> None:
        """Wait for news."""
        self._news.wait(timeout)


def _merged(one: WrittenSpan, other: WrittenSpan) -> WrittenSpan:
    reached = {p: max(one.reached.get(p, 0), other.reached.get(p, 0)) for p in {*one.reached, *other.reached}}
    return WrittenSpan(min(one.first_ms, other.first_ms), max(one.last_ms, other.last_ms), reached)


class HealthMonitor(Monitor):
    """A monitor that tells the judge too."""

    def __init__(self, progress: Progress, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._progress = progress

    def written(self, done: Written) -> None:
        """A batch was finished."""
        super().written(done)
        self._progress.applied(done.batch, done.partitions)

    def reached_end(self, partition: int, position: int, end: int) -> None:
        """All of a partition is read up to its end."""
        self._progress.reached_end(partition, position, end)

    def turn(self, held: Mapping[int, Held], first_times: Mapping[int, int]) -> None:
        """One turn of the loop."""
        super().turn(held, first_times)
        self._progress.stands({p: each.written for p, each in held.items() if each.written is not None})
