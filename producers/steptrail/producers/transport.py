"""One librdkafka producer with its poll thread and its counts, in one process.

Facts that this file is shaped by:

- `produce` does not release Python's global lock, and each delivery report takes it anew. So in a process
  that computes without pause the poll thread gets one report in 5 ms, and at some thousand events a second the
  queue would fill up with events that were delivered long ago. Hence `relieve`: past a quarter of the
  queue the emitting thread serves some reports itself, never more than a bounded number at a time.
- A report that raises would lose nothing (it is counted first) but would escape from whoever polls. `_report`
  raises only `_Enough`, on purpose, which is how librdkafka is told to stop; each poll catches it.
- After a fatal error (the idempotent producer's) a producer never sends again: a new one takes its place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from steptrail.producers import process_lifecycle as inheritance
from steptrail.producers.accounting import Counters, DropReason
from steptrail.producers.client_config import producer_config
from steptrail.producers.extraction import TooLargeError
from steptrail.producers.journal_file import Segment
from steptrail.producers.keeping import Keeping
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
from steptrail.producers.reports import LossReporter, PollLog
from steptrail.producers.self_report import SelfReport
from steptrail.schemas.redact import redact_values
from steptrail.schemas.settings import Settings
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.emitter")

_POLL_S = 0.19  # librdkafka's client wakes up five times a second in any case
_RETRY_START_S = 5.0
_QUIET_S = 0.2  # without a report after a purge: there will be none
_MAY_BE_SPOOLED = frozenset({DropReason.QUEUE_FULL, DropReason.INFRASTRUCTURE})
_RELIEF_AT_MOST = 512  # reports, about half a millisecond
_LAST_WORD_AT_LEAST_S = 0.2  # where the time of close is over
_LAST_WORD_AT_MOST_S = 1.0


class _Enough(Exception):
    """Stops librdkafka from serving further reports in this call."""


_ENOUGH = _Enough()


class Transport:
    """The Line (steptrail.producers.source) to the steps topic. Never waits for the network.

    The producer is created by the first `produce`. Safe for threads and for signal handlers.
    """

    def __init__(self, settings: Settings, spool: Path | None = None) -> None:
        self.counters = Counters()
        topics = Topics.from_settings(settings)
        self.topic = topics.steps.name
        self.self_report = SelfReport(self.counters, topics.emitters.name)
        keeping = Keeping(settings, spool, self.topic, self.counters)
        self.spool, self.journal = keeping.spool, keeping.journal
        self._keeping = keeping if keeping.spool or keeping.journal else None
        self.successor: Transport | None = None
        self.exit_flush_s = settings.exit_flush_s
        self.accept = self.counters.accept
        # At first what creates a producer, then that producer's own, at last what refuses.
        self._send: Callable[..., None]
        self.produce: Callable[..., None]
        self._route(self._start_and_produce)
        self.on_report = self._report
        self._settings = settings
        self._secrets = settings.secrets()
        self._relieve_from = max(1, settings.queue_max_messages // 4)
        self._starting = threading.RLock()
        self._in_start = False
        self._retry_at = 0.0
        self._poller: _Poller | None = None
        self._tries: Tries | None = None
        self._relieving: int | None = None
        self._relief = 0
        self._losses = LossReporter(self.counters)

    def not_encoded(self, error: Exception) -> None:
        """There is no message of the accepted event."""
        if isinstance(error, TooLargeError):
            self.counters.drop(DropReason.TOO_LARGE)
        else:
            # No value is known to bring this about; if one does, its caller must not pay for it.
            self.counters.drop(DropReason.NOT_ENCODED)
            _log.error("a step could not be encoded: %s: %s", type(error).__name__, error)

    def not_sent(self, error: Exception, key: bytes, value: bytes) -> None:
        """`produce` raised this for the message."""
        if isinstance(error, RefusedError) and error.reason is DropReason.FORK_INHERITED and self.successor:
            self.successor.counters.refuse(error.reason)
            return
        reason = self._reason(error)
        if self.spool is not None and reason in _MAY_BE_SPOOLED and self.spool.add(key, value):
            self.counters.spool()
        else:
            self.counters.drop(reason)
        self._look_for_fatal(error)

    def _journalled_not_sent(self, error: Exception, segment: Segment, at: int) -> None:
        """The same for a message that is in the journal."""
        assert self.journal is not None
        reason = self._reason(error)
        if reason in _MAY_BE_SPOOLED:
            self.journal.keep(segment, at)
            self.counters.spool()
        else:
            self.journal.done(segment, at)
            (self.successor or self).counters.drop(reason)
        self._look_for_fatal(error)

    def _reason(self, error: Exception) -> DropReason:
        if isinstance(error, BufferError):
            return DropReason.QUEUE_FULL
        if isinstance(error, RefusedError):
            return error.reason
        if isinstance(error, KafkaException):
            return drop_reason(code_of(error))
        _log.error("an event could not be sent: %s", self._redacted(error))
        return DropReason.INFRASTRUCTURE

    def _look_for_fatal(self, error: Exception) -> None:
        if isinstance(error, KafkaException) and code_of(error) == KafkaError._FATAL:
            self._replace_producer()

    def relieve(self) -> None:
        """Serve some reports, if the poll thread cannot keep up."""
        poller = self._poller
        if self.counters.pending <= self._relieve_from or poller is None or self._relief:
            return
        self._relieving = threading.get_ident()
        self._relief = _RELIEF_AT_MOST
        try:
            poller.poll(0)
        finally:
            self._relief = 0

    def flush(self, timeout: float) -> int:
        """Wait up to `timeout` seconds until nothing is pending; how many events still are."""
        deadline = time.monotonic() + timeout
        pause = 0.001
        while (pending := self.counters.pending) and (left := deadline - time.monotonic()) > 0:
            # Asleep, the calling thread leaves Python's lock to the poll thread.
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.02)
        return pending

    def close_at_exit(self, timeout: float) -> int:
        """Called when the process exits; how many events were left."""
        return self.close(timeout, destroy=False)

    def close(self, timeout: float, *, destroy: bool = True) -> int:
        """Deliver what can be within `timeout` seconds and count the rest as failed; how many those were.

        Without `destroy` librdkafka's threads stay, for a process that is about to exit.
        """
        with self._starting:
            self._send = self.produce = refuse_closed
            poller, self._poller = self._poller, None
        ends = time.monotonic() + timeout
        left = self.flush(timeout) if poller is not None else 0
        while self._keeping is not None and self._keeping.busy and time.monotonic() < ends:
            time.sleep(0.02)
        if poller is not None and left:
            poller.purge()
            self._await_purged(left)
        self.counters.settle(0 if self.journal is None else self.journal.unreported())
        if poller is not None:
            poller.tell_last_word(
                min(max(_LAST_WORD_AT_LEAST_S, ends - time.monotonic()), _LAST_WORD_AT_MOST_S)
            )
            poller.stop(destroy=destroy)
        if self._keeping is not None:
            self._keeping.close()
        self._losses.tell(final=True)
        return left

    def _await_purged(self, before: int) -> None:
        # The reports come at once, one after the other: wait while they do, which is bounded by their number.
        while 0 < (left := self.flush(_QUIET_S)) < before:
            before = left

    def retire(self) -> None:
        """Nobody will send any more: let the poll thread end when all is reported."""
        with self._starting:
            self._send = self.produce = refuse_closed
            if self._poller is not None:
                self._poller.retire(say_so=True)
                inheritance.adopt(self)

    def disown(self, successor: Transport) -> None:
        """In a forked child: never touch the parent's producer again; `successor` counts for this process."""
        self.successor = successor
        if self._keeping is not None:
            self._keeping.disown()
        self._send = self.produce = refuse_inherited
        self._poller = None

    # --- the producer ------------------------------------------------------------------------------

    def _start_and_produce(self, *message: Any) -> None:
        try:
            with self._starting:
                if self._send == self._start_and_produce:  # or another thread was first
                    self._start()
                send = self._send
            send(*message)
        except BaseException:
            message = ()  # or the traceback would hold on to the callback, by which the journal knows who has it
            raise

    def _route(self, send: Callable[..., None]) -> None:
        """From now on messages go to `send`, by way of the journal if there is one."""
        self._send = self.produce = send
        if self.journal is not None:
            self.produce = self.journal.producing(send, self._report_journalled, self._journalled_not_sent)

    def _start(self) -> None:
        if self._in_start or time.monotonic() < self._retry_at:
            # The first is a signal handler that emits in the very moment in which a producer is made.
            raise RefusedError(DropReason.INFRASTRUCTURE)
        self._in_start = True
        try:
            log = PollLog(self._redacted)
            config = producer_config(self._settings, log.on_error)
            producer = Producer(config, logger=log)
            if self._tries is None:  # else messages of the one before may still be reported
                self._tries = Tries(config)
            self._poller = _Poller(producer, log, self._losses, self.self_report, self._keeping, self._tries)
            self._poller.start()
            self._route(producer.produce)
        except Exception as error:
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
            self._route(self._start_and_produce)
        _log.error("Kafka's client met a fatal error; a new one takes over")
        poller.purge()
        poller.retire()

    def _redacted(self, error: object) -> str:
        return redact_values(str(error), self._secrets)

    # --- delivery reports --------------------------------------------------------------------------

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.counters.deliver(message.partition(), message.offset())  # type: ignore[arg-type]  # has both
        # A refusal will be one the next time too.
        elif (
            self.spool is not None
            and not refused(error.code())
            and self.spool.add(message.key(), message.value())
        ):
            self.counters.spool()
        else:
            self._failed(error.code(), message)
        if self._relief and self._relieving == threading.get_ident():
            self._count_relief()

    def _report_journalled(
        self, segment: Segment, at: int, error: KafkaError | None, message: Message
    ) -> None:
        """The same for a message that is in the journal, at this place."""
        assert self.journal is not None
        if error is None:
            if segment.done(at):
                self.journal.free(segment)
            self.counters.deliver(message.partition(), message.offset())  # type: ignore[arg-type]  # has both
        elif refused(error.code()):
            self.journal.done(segment, at)
            self._failed(error.code(), message)
        else:
            self.journal.keep(segment, at)
            self.counters.spool()
        if self._relief and self._relieving == threading.get_ident():
            self._count_relief()

    def _failed(self, code: int, message: Message) -> None:
        first_try = self._tries is not None and self._tries.first(message)
        self.counters.fail(fail_reason(code, first_try=first_try))

    def _count_relief(self) -> None:
        self._relief -= 1
        if not self._relief:
            raise _ENOUGH


class _Poller(threading.Thread):
    """Serves one producer's reports until it is stopped, or retired and all is reported."""

    def __init__(
        self,
        producer: Producer,
        log: PollLog,
        losses: LossReporter,
        self_report: SelfReport,
        keeping: Keeping | None,
        tries: Tries,
    ) -> None:
        super().__init__(name="steptrail-poll", daemon=True)
        self.producer: Producer | None = producer
        self._log = log
        self._losses = losses
        self._self_report = self_report
        self._keeping = keeping
        self._tries = tries
        self._stopped = False
        self._retired = False
        self._says_so = False
        self._destroy = True
        inheritance.keep(producer)

    def run(self) -> None:
        while not self._done():
            if self.producer is not None:
                self._tries.look(self.producer)
            self.poll(_POLL_S)
            self._log.drain()
            self._losses.tell()
            self._report()
        self._log.drain()
        if self._destroy:
            producer, self.producer = self.producer, None
            inheritance.release(producer)
            del producer  # ends librdkafka's threads, which may take a moment: here nobody waits

    def poll(self, timeout: float) -> None:
        producer = self.producer
        if producer is None:
            return
        try:
            producer.poll(timeout)
        except _Enough:
            pass
        except Exception as error:
            _log.error("serving delivery reports failed: %s", type(error).__name__)
            time.sleep(timeout)

    def purge(self) -> None:
        """Make librdkafka report everything that it still holds as undelivered."""
        if self.producer is not None:
            self._tries.look(self.producer)
            self.producer.purge(in_queue=True, in_flight=True, blocking=False)

    def retire(self, *, say_so: bool = False) -> None:
        """End when all is reported; with `say_so` the emitter ends too, and its last word is sent then."""
        self._says_so = say_so
        self._retired = True

    def tell_last_word(self, timeout: float) -> None:
        """Send the emitter's last report, and wait up to `timeout` seconds for its delivery."""
        if (producer := self.producer) is not None and not self._self_report.close(producer.produce, timeout):
            self.purge()  # or librdkafka warns of it when it is destroyed

    def _report(self) -> None:
        if (producer := self.producer) is not None and not self._retired:
            self._self_report.tick(producer.produce)
            if self._keeping is not None:
                self._keeping.tick(producer.produce)

    def _done(self) -> bool:
        if self._stopped:
            return True
        if not self._retired or self._held():
            return False
        if self._says_so and self.producer is not None:
            self._says_so = False
            self._self_report.last_word(self.producer.produce)
            if self._keeping is not None:
                self._keeping.close()
        return not self._held()

    def stop(self, *, destroy: bool) -> None:
        if not destroy:
            inheritance.leak(self.producer)
        self._destroy = destroy
        self._stopped = True

    def _held(self) -> int:
        return 0 if self.producer is None else len(self.producer)
