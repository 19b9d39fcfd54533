"""What happens in a consume loop, as status, metrics and log lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError

from steptrail.consumers.loop.buffer import ConsumedBatch
from steptrail.consumers.loop.lag_watch import LagWatch
from steptrail.consumers.loop.partitions import Held
from steptrail.consumers.loop.positions import Gap
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.consumers.runtime.status import PartitionStatus, State, Status

_log = logging.getLogger("steptrail.consumers")

PROGRESS_EVERY_S = 10.0
IDLE_PROGRESS_EVERY_S = 60.0
REFRESH_EVERY_S = 1.0
# A batch takes well below a second; a write that takes longer than this is waiting for something.
SLOW_AFTER_S = 10.0


@dataclass(frozen=True)
class Written:
    """A batch that the sink has finished in `seconds`; `partitions` are those that it still possessed."""

    batch: ConsumedBatch
    partitions: frozenset[int]
    seconds: float


class Monitor:
    """The loop calls it for everything that happens; it never raises and never blocks.

    Everything it logs goes to `log`. `denied` says which right an error is about, None for other errors.
    `clock` is monotonic, `wall` is the time of day, both in seconds.
    """

    def __init__(
        self,
        status: Status,
        metrics: ProjectorMetrics,
        lag_watch: LagWatch,
        *,
        log: logging.Logger = _log,
        denied: Callable[[KafkaError], str | None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._denied = denied
        self._lacking: str | None = None  # the right that the consumer lacks
        self.status = status
        self.metrics = metrics
        self._lag_watch = lag_watch
        self._clock = clock
        self._wall = wall
        self._fault: str | None = "the consumer group to let it in"
        self._slow: str | None = None
        self._joined = False
        self._written_through: dict[int, int] = {}  # partition -> broker time (ms) of what is written
        self._gaps: set[Gap] = set()
        self._events = 0
        self._events_logged = 0
        self._logged_at = self._refreshed_at = clock()

    # --- events

    def assigned(self, partitions: Iterable[int]) -> None:
        """The group assigned these; none where there are more consumers than partitions."""
        self._joined = True
        self._lacking = None
        if numbers := sorted(partitions):
            self._log.info("partitions assigned", extra={"partitions": numbers})

    def revoked(self, partitions: Iterable[int]) -> None:
        """The group revoked these."""
        numbers = sorted(partitions)
        for number in numbers:
            self.status.partitions.pop(number, None)
            self._written_through.pop(number, None)
            self.metrics.forget_partition(number)
        if numbers:
            self._log.info("partitions revoked", extra={"partitions": numbers})

    def claimed(self, count: int) -> None:
        """`count` partitions were claimed in the ledger."""
        self.metrics.claims.inc(count)

    def gap(self, gap: Gap) -> None:
        """Offsets that will never be projected."""
        if gap in self._gaps:
            return
        self._gaps.add(gap)
        self.metrics.gap_events.labels(str(gap.partition)).inc(gap.last - gap.first + 1)
        self._log.error(
            "offsets were lost: %s",
            gap.reason,
            extra={"partition": gap.partition, "first_offset": gap.first, "last_offset": gap.last},
        )

    def written(self, done: Written) -> None:
        """The sink finished a batch."""
        batch, metrics = done.batch, self.metrics
        self._lacking = None
        for partition in done.partitions:
            self._written_through[partition] = batch.batch.last_time_ms
        self._events += batch.events
        metrics.events.inc(batch.events)
        metrics.projected.inc(batch.batch.rows)
        metrics.bytes.inc(batch.batch.size)
        metrics.batches.inc()
        metrics.batch_seconds.observe(done.seconds)
        metrics.batch_events.observe(batch.events)
        self._log.debug(
            "batch written",
            extra={"events": batch.events, "bytes": batch.batch.size, "seconds": round(done.seconds, 4)},
        )

    def committed(self, offsets: Mapping[int, int]) -> None:
        """Offsets were sent to the group coordinator."""
        self.status.last_commit = now = self._wall()
        self.metrics.last_commit.set(now)

    def waiting(self, reason: str, delay: float, failures: int) -> None:
        """Nothing can be written for now; the next attempt is after `delay` seconds."""
        self._fault = reason
        self.metrics.faults.inc()
        self._log.warning(
            "waiting for %s", reason, extra={"retry_in_seconds": round(delay, 2), "failures": failures}
        )
        self._show_state()

    def running(self) -> None:
        """All held partitions can be read and written."""
        if self._fault is not None and self._joined:
            self._fault = None
            self._log.info("running", extra={"partitions": sorted(self.status.partitions)})
            self._show_state()

    def writer_busy(self, seconds: float) -> None:
        """The writer's current task has taken `seconds` so far."""
        if seconds < SLOW_AFTER_S:
            self._slow = None
        elif self._slow is None:
            self._slow = "ClickHouse to answer"
            self._log.warning(
                "waiting for ClickHouse to answer a write", extra={"seconds": round(seconds, 1)}
            )

    def broker_said(self, error: KafkaError) -> None:
        """The consumer reported an error from which it recovers by itself."""
        if (lacking := self._denied(error)) is not None:
            if lacking != self._lacking:  # it is reported several times a second
                self._log.error("kafka: %s", lacking, extra={"code": error.name()})
            self._lacking = lacking
            self._show_state()
            return
        self._log.warning("kafka: %s", error.str(), extra={"code": error.name()})

    def stopping(self) -> None:
        """The shutdown began."""
        self.status.enter(State.STOPPING)
        self._log.info("stopping")

    def stopped(self) -> None:
        """The shutdown is over."""
        self.status.enter(State.STOPPED)
        self._log.info("stopped", extra={"events": self._events})

    # --- every turn

    def turn(self, held: Mapping[int, Held], first_times: Mapping[int, int]) -> None:
        """One turn of the loop: refresh lag and gauges, and log the progress line, each when it is due.

        `first_times`: broker time (ms) of the first buffered record of each partition that has any.
        """
        now = self._clock()
        self.status.last_turn = now
        if now - self._refreshed_at < REFRESH_EVERY_S:
            return
        self._refreshed_at = now
        self._lag_watch.refresh(held, now)
        self._show_partitions(held, first_times)
        self._show_state()
        self._log_progress(now)

    def _show_partitions(self, held: Mapping[int, Held], first_times: Mapping[int, int]) -> None:
        now_ms = self._wall() * 1000
        for number, partition in held.items():
            shown = self.status.partitions.setdefault(number, PartitionStatus())
            shown.written = partition.written
            shown.end = self._lag_watch.ends.get(number)
            oldest = first_times.get(number)
            if oldest is None and shown.lag_events:
                # Not read yet: no older than the last that was written, or else than this program knows.
                oldest = self._written_through.setdefault(number, int(now_ms))
            shown.lag_seconds = max(0.0, (now_ms - oldest) / 1000) if oldest is not None else 0.0
            label = str(number)
            self.metrics.lag_seconds.labels(label).set(shown.lag_seconds)
            if shown.lag_events is not None:
                self.metrics.lag_events.labels(label).set(shown.lag_events)
            if shown.written is not None:
                self.metrics.position.labels(label).set(shown.written)

    def _show_state(self) -> None:
        if self.status.state in (State.STOPPING, State.STOPPED):
            return
        reason = self._lacking or self._fault or self._slow or self._lag_watch.fault
        if reason == self.status.waiting_for and self.status.state is not State.STARTING:
            return
        self.metrics.waiting.clear()
        if reason is None:
            self.status.enter(State.RUNNING)
        else:
            self.status.enter(State.WAITING, reason)
            self.metrics.waiting.labels(reason).set(1)
        self.metrics.running.set(reason is None)

    def _log_progress(self, now: float) -> None:
        elapsed = now - self._logged_at
        events = self._events - self._events_logged
        busy = events or self.status.lag_events or self.status.state is not State.RUNNING
        if elapsed < (PROGRESS_EVERY_S if busy else IDLE_PROGRESS_EVERY_S):
            return
        self._logged_at, self._events_logged = now, self._events
        self._log.info(
            "progress",
            extra={
                "state": self.status.state.value,
                "events": events,
                "events_per_second": round(events / elapsed, 1),
                "lag_events": self.status.lag_events,
                "lag_seconds": round(self.status.lag_seconds, 3),
                "waiting_for": self.status.waiting_for,
            },
        )
