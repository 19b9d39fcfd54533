"""One librdkafka producer with its poll thread and its counts, in one process.

Facts that this file is shaped by:

- `produce` does not release Python's global lock, and each delivery report takes it anew. So in a process
  that computes without pause the poll thread gets one report in 5 ms, and at some thousand events a second the
  queue would fill up with events that were delivered long ago. Hence `relieve`: past a quarter of the
  queue the emitting thread serves some reports itself, never more than a bounded number at a time.
- A report that raises would lose nothing (it is counted first) but would escape from whoever polls. `report`
  raises only `Enough`, on purpose, which is how librdkafka is told to stop; each poll catches it.
- A thread that emits or flushes may have an exception raised into it (steptrail.schemas.foreign), also while it serves
  a report: what is not counted then is counted by `_serve`, from what the frames of the traceback hold.
- The poll thread may die, wait for a log's file, or be a greenlet that never gets a turn. Whoever flushes serves
  reports itself when that thread has not been round for a while.
- After a fatal error (the idempotent producer's) a producer never sends again: a new one takes its place.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count, starmap
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from steptrail.producers.accounting import Counters, DropReason, FailReason, position
from steptrail.producers.broker_clock import broker_clock
from steptrail.producers.delivery import process_lifecycle as inheritance
from steptrail.producers.delivery import threads
from steptrail.producers.delivery.client_config import producer_config
from steptrail.producers.delivery.emitter_reports import SelfReport
from steptrail.producers.delivery.loss_logging import LossReporter, PollLog
from steptrail.producers.delivery.poller import SILENT_S, Enough, Poller
from steptrail.producers.delivery.receipt import Receipt
from steptrail.producers.extraction import TooLargeError
from steptrail.producers.fork_safe_logging import fork_safe_log
from steptrail.producers.persistence.journal import PLACED
from steptrail.producers.persistence.outbox import Keeping
from steptrail.producers.refusals import (
    RefusedError,
    Tries,
    code_of,
    drop_reason,
    fail_reason,
    refuse_closed,
    refuse_inherited,
    refused,
)
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.foreign import let_through
from steptrail.schemas.redact import redact_values
from steptrail.schemas.topics import Topics

_log = fork_safe_log("steptrail.emitter")

_RETRY_START_S = 5.0
_QUIET_S = 5.0  # without a report after a purge: there will be none
_MAY_BE_SPOOLED = frozenset({DropReason.QUEUE_FULL, DropReason.INFRASTRUCTURE})
_RELIEF_AT_MOST = 512  # reports, about half a millisecond
_LAST_WORD_AT_LEAST_S = 0.2  # where the time of close is over
_LAST_WORD_AT_MOST_S = 1.0


class _Started(Exception):
    """There is a producer now: try again."""


_ENOUGH = Enough()
_OF_OUR_OWN = (KafkaException, RuntimeError, LookupError, TypeError, AttributeError, SystemError)


class Transport:
    """The Line (steptrail.producers.events.source) to the steps topic. Never waits for the network.

    The producer is created by the first `produce`. Safe for threads and for signal handlers.
    """

    # On the class until a fork: CPython 3.11 reads the attributes of an object that has 30 or more at half the speed.
    successor: Transport | None = None

    def __init__(self, settings: Settings, spool: Path | None = None) -> None:
        self.counters = Counters()
        topics = Topics.from_settings(settings)
        self.topic = topics.steps.name
        self._clock = broker_clock(settings.kafka)
        self.self_report = SelfReport(self.counters, topics.emitters.name, broker_clock=self._clock)
        keeping = Keeping(settings, spool, self.topic, self.counters)
        self.spool, self.journal = keeping.spool, keeping.journal
        self._keeping = keeping if keeping.spool or keeping.journal else None
        self.keep = None if self.journal is None else self.journal.keeping()
        # A class for each transport: to tell each receipt costs more than to ask its class.
        receipt: type[Receipt] = type("Receipt", (Receipt,), {"__slots__": (), "transport": self})
        self.receipt: Callable[[], list[Any]] = receipt
        self.forgotten: deque[list[Any]] = deque() if self.journal is None else self.journal.forgotten
        self.exit_flush_s = settings.exit_flush_s
        self.acceptances = self.counters.acceptances
        self.interrupted = self.counters.interrupted
        # At first what creates a producer, then that producer's own, at last what refuses.
        self.produce: Callable[..., None] = self._start_and_produce
        self.on_report: Callable[..., None] = receipt()
        self._settings = settings
        self._relieve_from = max(1, settings.queue_max_messages // 4)
        self._starting = threading.RLock()
        self._in_start = False
        self._retry_at = self._started_at = 0.0
        self._poller: Poller | None = None
        self._tries: Tries | None = None
        self._log: PollLog | None = None
        self._relieving: int | None = None
        self.relieving = 0
        self._losses = LossReporter(self.counters)
        self._faults = count()
        self._seen = 0, time.monotonic()  # what was pending last, and since when

    def refuse(self, error: Exception) -> None:
        """One event more, of whose values there is no message."""
        self.counters.refuse(DropReason.NOT_ENCODED)
        # No value is known to bring this about; if one does, its caller must not pay for it.
        _log.error("a step could not be encoded: %s: %s", type(error).__name__, error)

    def not_encoded(self, error: Exception, mark: list[Any]) -> None:
        """There is no message of the accepted event."""
        if isinstance(error, TooLargeError):
            self.counters.drop(DropReason.TOO_LARGE, mark)
        else:
            self.counters.drop(DropReason.NOT_ENCODED, mark)
            _log.error("a step could not be encoded: %s: %s", type(error).__name__, error)

    def not_sent(self, error: Exception, key: bytes, value: bytes, kept: list[Any], mark: list[Any]) -> bool:
        """`produce` raised this for the message; True when it is to be tried once more."""
        if isinstance(error, _Started):
            return True
        if isinstance(error, RefusedError) and error.reason is DropReason.FORK_INHERITED and self.successor:
            self.successor.counters.refuse(error.reason)
            return False
        if isinstance(error, BufferError):
            reason = DropReason.QUEUE_FULL
        elif isinstance(error, RefusedError):
            reason = error.reason
        elif isinstance(error, KafkaException):
            reason = drop_reason(code_of(error))
        else:
            reason = DropReason.INFRASTRUCTURE
            _log.error("an event could not be sent: %s", self._redacted(error))
        journal = self.journal if len(kept) == PLACED else None
        if reason not in _MAY_BE_SPOOLED:
            if journal is not None:
                journal.done(*kept)
            self.counters.drop(reason, mark)
        elif journal is not None:
            try:
                self.counters.spool(mark)
            finally:
                if mark[1:]:
                    journal.wait(kept)
        elif self.spool is not None and self.spool.add(key, value):
            self.counters.spool(mark)
        else:
            self.counters.drop(reason, mark)
        if isinstance(error, KafkaException) and code_of(error) == KafkaError._FATAL:
            self._replace_producer()
        return False

    @property
    def thread_faults(self) -> int:
        """How often the poll thread met a fault of its own, or was found not to do its work."""
        return position(self._faults)

    def relieve(self) -> None:
        """Serve some reports, if the poll thread cannot keep up."""
        poller = self._poller
        if self.counters.pending > self._relieve_from and poller is not None:
            self._serve(poller)

    def _serve(self, poller: Poller) -> bool:
        """Serve some reports here, in a thread that others may raise into; nothing of ours is raised. True when there
        may be more.
        """
        if self.relieving:
            return False  # another thread does, or this one does and is in a signal handler
        self._relieving = threading.get_ident()
        self.relieving = _RELIEF_AT_MOST
        try:
            poller.poll(0)
        except BaseException as error:
            # What came through the client may have lost the frames by which it could be told.
            if not isinstance(error, _OF_OUR_OWN):
                raise
            let_through(error)
            _log.error("serving delivery reports failed: %s", type(error).__name__)
        finally:
            more, self.relieving = self.relieving <= 0, 0
        return more

    def flush(self, timeout: float) -> int:
        """Wait up to `timeout` seconds until nothing is pending; how many events still are."""
        self._wait_until(lambda: not self.counters.pending, timeout)
        return self.counters.pending

    def _wait_until(self, done: Callable[[], object], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        wait = 0.001
        while not done() and (left := deadline - time.monotonic()) > 0:
            self._help()
            # Asleep, the calling thread leaves Python's lock to the poll thread.
            threads.pause(min(wait, left))
            wait = min(wait * 1.5, 0.02)

    def _help(self) -> None:
        """Do the poll thread's work, if it does not; and start it again, if it died."""
        poller = self._poller
        pending, now = self.counters.pending, time.monotonic()
        if pending != self._seen[0]:
            self._seen = pending, now
        if poller is None:
            return
        if 0 < pending <= poller.lost_reports and now - self._seen[1] > SILENT_S:
            self._give_up_lost(poller, pending)
        if poller.alive and not (poller.silent and now - self._seen[1] > SILENT_S):
            return
        if not poller.told_silent:
            poller.told_silent = True
            next(self._faults)
            _log.error("the thread that serves delivery reports does not; whoever flushes serves them")
        if not poller.alive:
            poller.start()
        self._serve(poller)

    def _give_up_lost(self, poller: Poller, pending: int) -> None:
        """Nobody will ever report what is pending, if the client holds nothing: it may be delivered."""
        producer = poller.producer
        if self.journal is None and producer is not None and not len(producer):
            poller.lost_reports -= pending
            for _ in range(pending):
                self.counters.fail(FailReason.UNREPORTED)

    def close_at_exit(self, timeout: float) -> int:
        """Called when the process exits; how many events were left."""
        return self.close(timeout, destroy=False)

    def close(self, timeout: float, *, destroy: bool = True) -> int:
        """Deliver what can be within `timeout` seconds and count the rest as failed; how many those were.

        Without `destroy` librdkafka's threads stay, for a process that is about to exit.
        """
        with self._starting:
            self.produce, self.keep = refuse_closed, None
            poller = self._poller
        # Each step can be done again: whoever is interrupted here, by a time limit or Ctrl-C, may close once more.
        ends = time.monotonic() + timeout
        if poller is not None:
            self._wait_until(
                lambda: not (self.counters.pending or (self._keeping is not None and self._keeping.busy)),
                timeout,
            )
        left = 0 if poller is None else self.counters.pending
        if poller is not None and left:
            poller.purge()
            self._serve_purged(poller)
        self.counters.settle(0 if self.journal is None else self.journal.unreported())
        if poller is not None:
            poller.say_last_word()
            least = min(max(_LAST_WORD_AT_LEAST_S, ends - time.monotonic()), _LAST_WORD_AT_MOST_S)
            self._wait_until(lambda: self.self_report.settled, least)
            if not self.self_report.settled:
                poller.purge()  # or librdkafka warns of it when it is destroyed
            poller.stop(destroy=destroy)
            self._poller = None
        if self._keeping is not None:
            self._keeping.close()
        self._losses.tell(final=True)
        return left

    def _serve_purged(self, poller: Poller) -> None:
        # The reports come at once, one after the other: wait while they do, which is bounded by their number. They are
        # served here too: the poll thread may be syncing a spool to a slow disk.
        left, since = self.counters.pending, time.monotonic()
        while left and (now := time.monotonic()) - since < _QUIET_S:
            if not self._serve(poller):
                threads.pause(0.001)
            if self.counters.pending < left:
                left, since = self.counters.pending, now

    def retire(self) -> None:
        """Nobody will send any more: let the poll thread end when all is reported."""
        with self._starting:
            self.produce, self.keep = refuse_closed, None
            if self._poller is not None:
                self._poller.retire(say_so=True)
                inheritance.adopt(self)

    def disown(self, successor: Transport) -> None:
        """In a forked child: never touch the parent's producer again; `successor` counts for this process."""
        self.successor = successor
        if self._keeping is not None:
            self._keeping.disown()
        self.produce, self.keep = refuse_inherited, None
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.abandon()

    # --- the producer ------------------------------------------------------------------------------

    def _start_and_produce(self, *_message: Any) -> None:
        with self._starting:
            if self.produce == self._start_and_produce:  # or another thread was first
                self._start()
        raise _Started

    def _start(self) -> None:
        if self._in_start or time.monotonic() < self._retry_at:
            # The first is a signal handler that emits in the very moment in which a producer is made.
            raise RefusedError(DropReason.INFRASTRUCTURE)
        self._in_start = True
        poller = None
        try:
            log = self._log = PollLog(self._redacted, self._settings.kafka_config(), self.topic)
            self.self_report.on_denial = log.on_denial
            config = producer_config(self._settings, log.on_error)
            producer = Producer(config, logger=log)
            if self._tries is None:  # else messages of the one before may still be reported
                self._tries = Tries(config)
            poller = Poller(
                producer,
                log,
                self._losses,
                self.self_report,
                self._keeping,
                self._tries,
                self._clock,
                self._faults,
                self._serve,
            )
            poller.start()
            self._poller, self.produce = poller, producer.produce
            self._started_at = time.monotonic()
        except BaseException as error:
            if poller is not None and self._poller is not poller:
                poller.stop(destroy=True)
            let_through(error)
            self._retry_at = time.monotonic() + _RETRY_START_S
            _log.error(
                "Kafka's client did not start, events are dropped; next try in %.0f s: %s",
                _RETRY_START_S,
                self._redacted(error),
            )
            raise RefusedError(DropReason.INFRASTRUCTURE) from None
        finally:
            self._in_start = False

    def _replace_producer(self) -> None:
        with self._starting:
            poller, self._poller = self._poller, None
            if poller is None:
                return  # another thread did, or it is closed
            self.produce = self._start_and_produce
            if (now := time.monotonic()) - self._started_at < _RETRY_START_S:
                self._retry_at = now + _RETRY_START_S  # the next one would fare no better at once
        _log.error("Kafka's client met a fatal error; a new one takes over")
        poller.purge()
        poller.retire()

    def _redacted(self, error: object) -> str:
        return redact_values(str(error), self._settings.secrets())

    # --- delivery reports --------------------------------------------------------------------------

    def relieved(self) -> None:
        """One report was served; raises Enough when these were all that a thread which emits is to serve."""
        if self.relieving and self._relieving == threading.get_ident():
            self.relieving -= 1
            if self.relieving <= 0:
                raise _ENOUGH

    def count(
        self, kept: Sequence[Any], error: KafkaError | None, message: Message, counted: list[Any]
    ) -> None:
        """Do what is still to be done; `counted` grows by one when the report is counted, and shows that later."""
        journal = self.journal if len(kept) == PLACED else None
        # A refusal will be one the next time too.
        undelivered = error is not None and not refused(error.code())
        if counted:
            pass
        elif error is None:
            self.counters.deliver(message.partition(), message.offset(), counted)  # type: ignore[arg-type]  # has both
        elif undelivered and (
            journal is not None or (self.spool is not None and self.spool.add(message.key(), message.value()))
        ):
            self.counters.spool(counted)
        else:
            first_try = self._tries is not None and self._tries.first(message)
            self.counters.fail(fail_reason(error.code(), first_try=first_try), counted)
        if journal is not None:
            if not undelivered:
                journal.done(*kept)
            elif len(counted) < 2:
                counted.extend(starmap(journal.wait, ((kept,),)))
        if error is None:
            if self._clock.due:
                self._clock.learn(message)
        elif self._log is not None:
            self._log.on_denial(error)
