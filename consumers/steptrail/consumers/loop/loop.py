"""The consume loop: reads Kafka, builds batches and writes them to a sink, without ever keeping Kafka waiting.

One turn, repeated:

    settle     process what the writer has finished: a claim, a batch, a fault
    widen      hold further partitions besides those that the group assigned
    employ     give the idle writer its next task: claim waiting partitions, or write the batch that is due
    throttle   a full buffer and a busy writer: wait a little, then pause the partitions
    place      start reading opened partitions at their offsets
    read       Kafka → buffer
    report     lag, progress, metrics

The writer (`WorkerThread`) writes one batch while the next is read and built. Only this loop's thread uses the
consumer, and it never blocks for long, so the group membership survives any outage of ClickHouse.

After an InfrastructureError the loop pauses everything, waits (exponential backoff, without limit), has the sink open
the partitions again, and continues with exactly the batch that was ready if the sink confirms that it comes next;
otherwise it reads again. Any other error ends the loop. In doubt records are read again: the sink's ledger makes that
harmless.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from steptrail.consumers.kafka.errors import is_fatal
from steptrail.consumers.loop.assignment import Assignment
from steptrail.consumers.loop.batching import BatchLimits
from steptrail.consumers.loop.buffer import Buffer, ConsumedBatch
from steptrail.consumers.loop.feed import Feed, GroupFeed
from steptrail.consumers.loop.monitor import Monitor, Written
from steptrail.consumers.loop.observer import LoopObserver
from steptrail.consumers.loop.partitions import Partitions, Phase
from steptrail.consumers.loop.positions import Start
from steptrail.consumers.loop.sink import Opening, Sink, Writing
from steptrail.consumers.runtime.backoff import Backoff
from steptrail.consumers.runtime.deadline import Deadline
from steptrail.consumers.runtime.worker_thread import WorkerThread
from steptrail.projections.delivery.holds import TablesHeld
from steptrail.schemas.errors import InfrastructureError

_log = logging.getLogger("steptrail.consumers.loop")

READ_AT_ONCE = 10_000
READ_TIMEOUT_S = 0.1
# How long to wait for a busy writer before pausing partitions: pausing drops prefetched records.
PATIENCE_S = 1.0
# How long a rebalance waits for the batch being written; the ledger makes not waiting harmless.
REVOKE_PATIENCE_S = 5.0


class ConsumeLoop:
    """Reads `topic` with `consumer`, in its group, and writes to `sink`; see the module's docstring.

    `consumer` must have automatic commits off, the cooperative-sticky assignor and `auto.offset.reset=error`;
    the loop closes it. `new_buffer` creates a buffer that shares the given positions. `feed` decides which partitions
    are read; by default those that the group assigns. `observer` is called for every written batch. Without `commits`
    nothing is committed to the group. `leaves`: leave the group at the end, also as a static member.
    """

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        sink: Sink,
        new_buffer: Callable[[dict[int, int]], Buffer],
        *,
        limits: BatchLimits,
        monitor: Monitor,
        feed: Feed | None = None,
        observer: LoopObserver | None = None,
        backoff: Backoff | None = None,
        leaves: bool = True,
        commits: bool = True,
        shutdown_timeout: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._sink = sink
        self._feed: Feed = feed or GroupFeed(topic)
        self._limits = limits
        self._monitor = monitor
        self._observer = observer
        self._backoff = backoff or Backoff()
        self._leaves = leaves
        self._shutdown_timeout = shutdown_timeout
        self._clock = clock

        self._assignment = Assignment(consumer, topic, commits=commits)
        self._partitions = Partitions()
        self._make_buffer = new_buffer
        self._buffer = self._new_buffer()
        self._batch: ConsumedBatch | None = None  # closed, and not yet durably written
        self._writer = WorkerThread("steptrail-writer")
        self._task: Opening | Writing | None = None
        self._task_began = 0.0
        self._last_closed: float | None = None
        self._retry_at = 0.0
        self._held_back = False
        self._stopping = False

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set, then shut down within the shutdown's deadline.

        Raises the sink's errors other than InfrastructureError, and KafkaException for a fatal error of the consumer.
        """
        self._writer.submit(self._sink.prepare)
        self._feed.join(
            self._consumer, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        try:
            while not stop.is_set():
                self._settle()
                self._widen()
                self._employ()
                self._throttle()
                self._place()
                self._read()
                self._report()
        finally:
            self._shut_down(Deadline(self._shutdown_timeout, self._clock))

    # --- settle

    def _settle(self) -> None:
        task = self._task
        if task is None or not task.future.done():
            return
        self._task = None
        try:
            if isinstance(task, Opening):
                self._opened(task, task.future.result())
            else:
                self._written(task, task.future.result())
        except InfrastructureError as fault:
            self._stall(fault)

    def _opened(self, task: Opening, starts: dict[int, Start]) -> None:
        partitions = self._partitions
        mine = {p: s for p, s in starts.items() if partitions.current(p, task.generations[p])}
        kept = self._buffered_from()
        if any(p in kept and start.projected > kept[p] for p, start in mine.items()):
            # The buffered records have been written after all, or by another consumer.
            self._drop_buffered()
            kept = {}
        for partition, start in mine.items():
            partitions.opened(start, kept.get(partition))
            if start.gap is not None and partition not in kept:
                self._monitor.gap(start.gap)
        self._monitor.claimed(len(mine))
        not_won = [p for p, g in task.generations.items() if p not in starts and partitions.current(p, g)]
        if not_won:
            partitions.suspend(not_won)
            self._retry_later(f"the claim on partitions {not_won}, which another consumer took")
        elif self._batch is None:
            # With a batch ready, only writing it shows that the fault is over.
            self._backoff.succeeded()

    def _written(self, task: Writing, done: dict[int, int]) -> None:
        dropped = self._batch is not task.batch
        self._batch = None
        lost = []
        commits = {}
        for partition, generation in task.generations.items():
            held = self._partitions.current(partition, generation)
            if held is None:
                continue
            if partition in done:
                held.written = commits[partition] = done[partition]
            else:
                lost.append(partition)
        if self._assignment.commit(commits):
            self._monitor.committed(commits)
        self._monitor.written(Written(task.batch, frozenset(done), self._clock() - task.began))
        if self._observer is not None:
            self._observer.batch_written(task.batch, frozenset(done))
        if lost:
            self._assignment.pause(lost)
            self._partitions.suspend(lost)
        if lost or dropped:
            # The buffered records do not start at the partitions' current offsets.
            self._drop_buffered()
        if lost:
            self._retry_later(f"the claim on partitions {lost}, which another consumer took")
        else:
            self._backoff.succeeded()

    def _stall(self, fault: InfrastructureError) -> None:
        held = list(self._partitions.held)
        self._assignment.pause(held)
        self._partitions.suspend(held)
        self._retry_later(str(fault), briefly=isinstance(fault, TablesHeld))

    def _retry_later(self, waiting_for: str, *, briefly: bool = False) -> None:
        delay = self._backoff.brief() if briefly else self._backoff.failed()
        self._retry_at = self._clock() + delay
        self._monitor.waiting(waiting_for, delay, self._backoff.failures)

    # --- widen

    def _widen(self) -> None:
        if more := self._feed.more(self._partitions.held):
            self._partitions.assign(more)
            self._monitor.assigned(more)

    # --- employ

    def _employ(self) -> None:
        now = self._clock()
        if self._task is not None or now < self._retry_at:
            return
        if generations := self._partitions.opening():
            opening = list(generations)
            self._task = Opening(self._writer.submit(lambda: self._sink.open(opening)), generations)
            self._task_began = now
            return
        if self._batch is None and self._is_due(now):
            self._batch = self._buffer.close()
            self._buffer = self._new_buffer()
            self._last_closed = now
            if not self._continues(self._batch):
                _log.error(
                    "a batch does not start where the last one ended; reading again",
                    extra={"topic": self._topic},
                )
                self._drop_buffered()
        if (batch := self._batch) is not None:
            generations = self._partitions.generations(batch.batch.spans)
            self._task = Writing(
                self._writer.submit(lambda: self._sink.write(batch)), generations, batch, now
            )
            self._task_began = now

    def _is_due(self, now: float) -> bool:
        buffer = self._buffer
        return buffer.opened_at is not None and self._limits.is_due(
            buffer.events, buffer.size, buffer.opened_at, self._last_closed, now
        )

    def _continues(self, batch: ConsumedBatch) -> bool:
        """Whether the batch starts, in each of its partitions, where the last one ended."""
        held = self._partitions.held
        return all(p in held and held[p].written == start for p, start in batch.starts.items())

    # --- throttle

    def _throttle(self) -> None:
        full = self._limits.is_full(self._buffer.events, self._buffer.size)
        if full and self._task is not None and not self._held_back:
            self._await(self._task, READ_TIMEOUT_S)
            if not self._task.future.done() and self._clock() - self._task_began > PATIENCE_S:
                self._held_back = True
                self._assignment.pause(self._partitions.in_phase(Phase.FLOWING))
        elif self._held_back and not full:
            self._held_back = False
            self._assignment.resume(self._partitions.in_phase(Phase.FLOWING))

    # --- place

    def _place(self) -> None:
        for partition, offset in self._partitions.to_place().items():
            if self._assignment.place(partition, offset):
                self._partitions.placed(partition)
                if self._held_back:
                    self._assignment.pause([partition])

    # --- read

    def _read(self) -> None:
        now = self._clock()
        room = self._limits.max_events - self._buffer.events
        if self._limits.is_full(self._buffer.events, self._buffer.size):
            if not self._held_back:
                return
            room = 1  # nothing will arrive: the partitions are paused
        timeout = READ_TIMEOUT_S
        if self._buffer.opened_at is not None and self._task is None:
            due = self._limits.due_at(self._buffer.events, self._buffer.opened_at, self._last_closed)
            timeout = min(max(due - now, 0.001), READ_TIMEOUT_S)
        messages = self._consumer.consume(min(room, READ_AT_ONCE), timeout)
        for partition, offset, error in self._buffer.extend(messages, self._clock()):
            self._heard(partition, offset, error)

    def _heard(self, partition: int | None, offset: int | None, error: KafkaError) -> None:
        code = error.code()
        if is_fatal(error):
            raise KafkaException(error)
        if code == KafkaError._PARTITION_EOF:
            position = self._partitions.positions.get(-1 if partition is None else partition)
            if self._observer and partition is not None and offset is not None and position is not None:
                self._observer.reached_end(partition, position, offset)
            return
        self._monitor.broker_said(error)
        out_of_range = code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)
        if out_of_range and partition in self._partitions.in_phase(Phase.FLOWING):
            # Records expired before they were read. Opening again finds the log's start and records the gap.
            self._assignment.pause([partition])
            self._partitions.suspend([partition])
            self._drop_buffered()

    # --- report

    def _report(self) -> None:
        busy = self._clock() - self._task_began if self._task is not None else 0.0
        self._monitor.writer_busy(busy)
        if not self._backoff.failures and not self._partitions.in_phase(Phase.WAITING, Phase.OPENING):
            self._monitor.running()
        first_times = dict(self._buffer.first_times)
        if self._batch is not None:
            first_times.update(self._batch.first_times)
        self._monitor.turn(self._partitions.held, first_times)
        if self._observer is not None:
            held = self._partitions.held
            self._observer.stands_at({p: h.written for p, h in held.items() if h.written is not None})

    # --- rebalance: called by the consumer from within `consume` and `close`

    def _on_assign(self, _: Consumer, assigned: list[TopicPartition]) -> None:
        numbers = self._feed.assigned(assigned)
        self._assignment.accept()
        self._partitions.assign(numbers)
        self._monitor.assigned(numbers)

    def _on_revoke(self, _: Consumer, revoked: list[TopicPartition]) -> None:
        numbers = self._feed.revoked(revoked, list(self._partitions.held))
        task = self._task
        if not self._stopping and isinstance(task, Writing) and set(numbers) & set(task.generations):
            self._await(task, min(REVOKE_PATIENCE_S, self._shutdown_timeout))
            self._settle()
            self._assignment.commit(self._partitions.uncommitted(numbers), wait=True)
        self._give_up(numbers)

    def _on_lost(self, _: Consumer, lost: list[TopicPartition]) -> None:
        self._give_up(self._feed.revoked(lost, list(self._partitions.held)))

    def _give_up(self, numbers: list[int]) -> None:
        self._assignment.give_up(numbers)
        self._partitions.forget(numbers)
        if set(numbers) & set(self._buffered_from()):
            self._drop_buffered()
        if numbers:
            self._writer.submit(lambda: self._sink.release(numbers))
        self._monitor.revoked(numbers)

    @staticmethod
    def _await(task: Opening | Writing, timeout: float) -> None:
        futures: list[Future[Any]] = [task.future]
        wait(futures, timeout=timeout)

    # --- buffered records

    def _buffered_from(self) -> dict[int, int]:
        """Partition -> offset of its first unwritten record."""
        starts = dict(self._buffer.starts)
        if self._batch is not None:
            starts.update(self._batch.starts)
        return starts

    def _new_buffer(self) -> Buffer:
        return self._make_buffer(self._partitions.positions)

    def _drop_buffered(self) -> None:
        # A batch that is being written finishes; its answer is then for an older state.
        self._batch = None
        self._buffer = self._new_buffer()
        self._partitions.rewind()

    # --- the end

    def _shut_down(self, deadline: Deadline) -> None:
        self._stopping = True
        self._monitor.stopping()
        if isinstance(self._task, Writing):
            self._await(self._task, deadline.share(0.7).remaining())
            try:
                self._settle()
            except Exception:
                _log.exception(
                    "the batch in flight failed during the shutdown; it will be read again",
                    extra={"topic": self._topic},
                )
        closing = WorkerThread("steptrail-closing")
        commits = self._partitions.uncommitted(list(self._partitions.held))
        left = closing.submit(lambda: self._assignment.close(commits, deadline, leave=self._leaves))
        closing.close(deadline.remaining())
        if not left.done():
            _log.warning(
                "the consumer did not leave its group within %g s",
                self._shutdown_timeout,
                extra={"topic": self._topic},
            )
        self._writer.close(deadline.remaining())
        self._monitor.stopped()
