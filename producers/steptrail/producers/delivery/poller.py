"""The thread of one librdkafka producer: serves its delivery reports, writes its log, sends the emitter's reports."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from confluent_kafka import Producer

from steptrail.producers.broker_clock import BrokerClock
from steptrail.producers.delivery import process_lifecycle as inheritance
from steptrail.producers.delivery import threads
from steptrail.producers.delivery.client_config import purge
from steptrail.producers.delivery.emitter_reports import SelfReport
from steptrail.producers.delivery.loss_logging import LossReporter, PollLog
from steptrail.producers.delivery.receipt import cut_report
from steptrail.producers.fork_safe_logging import fork_safe_log
from steptrail.producers.persistence.outbox import Keeping
from steptrail.producers.refusals import Tries

_log = fork_safe_log("steptrail.emitter")

SILENT_S = 2.0
"""A poll thread that did not come round for so long needs help."""

_POLL_S = 0.19  # librdkafka's client wakes up five times a second in any case
_GREEN_POLL_S = 0.01  # between the looks of a greenlet, which cannot wait in librdkafka
_GREEN_IDLE_S = 0.1


class Enough(Exception):
    """Stops librdkafka from serving further reports in this call."""


class Poller:
    """Serves one producer's reports, in a thread, until it is stopped, or retired and all is reported."""

    def __init__(
        self,
        producer: Producer,
        log: PollLog,
        losses: LossReporter,
        self_report: SelfReport,
        keeping: Keeping | None,
        tries: Tries,
        clock: BrokerClock,
        faults: Iterator[object],
        serve: Callable[[Poller], bool],
    ) -> None:
        self.producer: Producer | None = producer
        self.told_silent = False
        self.lost_reports = 0
        """Reports of which it is not known of which event: an exception came before the first instruction of ours, and
        before Python 3.12 the client forgets it, with its traceback, and fails with SystemError."""
        self._faults = faults
        self._serve = serve
        self._told: set[str] = set()
        self._thread: threading.Thread | None = None
        self._green = False
        self._started_at = self._round_at = time.monotonic()
        self._log = log
        self._losses = losses
        self._self_report = self_report
        self._keeping = keeping
        self._tries = tries
        self._clock = clock
        self._stopped = False
        self._retired = False
        self._says_so = False
        self._destroy = True
        inheritance.keep(producer)

    def start(self) -> None:
        """Start the thread, or another one in place of one that died."""
        self._started_at = time.monotonic()
        self._green = threads.are_green()
        self._thread = threads.start("steptrail-poll", self._run)

    @property
    def alive(self) -> bool:
        """Whether there is a thread, or there will be one at once."""
        if time.monotonic() - self._started_at < SILENT_S:
            return True
        return self._thread is not None and self._thread.is_alive()

    @property
    def silent(self) -> bool:
        """Whether the thread has not been round for a while."""
        return time.monotonic() - self._round_at > SILENT_S

    def _run(self) -> None:
        while not self._attempt(self._done, or_else=False):
            self._round_at = time.monotonic()
            self._attempt(self._look)
            if self._green:
                more = self._attempt(partial(self._serve, self))
                threads.pause(0 if more else _GREEN_POLL_S if self._held() else _GREEN_IDLE_S)
            else:
                self._attempt(partial(self.poll, _POLL_S), pause=_POLL_S)
            for chore in (self._log.drain, self._losses.tell, self._report):
                self._attempt(chore)
        self._attempt(self._log.drain)
        if self._destroy and (producer := self.producer) is not None:
            self.producer = None
            inheritance.release(producer)
            # That ends librdkafka's threads, which may take a moment: in a thread where nobody waits.
            held = [producer]
            del producer
            threads.start_real(held.clear) if self._green else held.clear()

    def _attempt(self, chore: Callable[[], Any], *, or_else: Any = None, pause: float = 0.0) -> Any:
        """Do one thing; a fault in it is told once a kind, counted, and leaves the others alone."""
        try:
            return chore()
        except Exception as error:
            next(self._faults)
            self._log.on_denial(error)
            kind = f"{getattr(chore, '__name__', 'poll')}: {type(error).__name__}"
            if kind not in self._told:
                self._told.add(kind)
                with suppress(Exception):  # a log's handler may be what failed
                    _log.error("a fault in the thread that serves delivery reports, which goes on: %s", kind)
            threads.pause(pause)
            return or_else

    def _look(self) -> None:
        if self.producer is not None:
            self._tries.look(self.producer)
        self._clock.look()

    def poll(self, timeout: float) -> None:
        """Serve reports; raises what a callback raised, or others did into it. The report that this cut is counted, or
        is one of `lost_reports`.
        """
        if (producer := self.producer) is None:
            return
        try:
            with suppress(Enough):
                producer.poll(timeout)
        except BaseException as error:
            if (cut := cut_report(error)) is not None:
                cut[0].transport.count(*cut)
            elif isinstance(error, SystemError):
                self.lost_reports += 1
            raise

    def purge(self) -> None:
        """Make librdkafka report everything that it still holds as undelivered."""
        if self.producer is not None:
            self._tries.look(self.producer)
            purge(self.producer)

    def retire(self, *, say_so: bool = False) -> None:
        """End when all is reported; with `say_so` the emitter ends too, and its last word is sent then."""
        self._says_so = say_so
        self._retired = True

    def say_last_word(self) -> None:
        """Send the emitter's last report."""
        if (producer := self.producer) is not None:
            self._self_report.last_word(producer.produce)

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

    def abandon(self) -> None:
        """In a forked child: threads are the parent's, but greenlets are copied, and must leave the producer alone."""
        self.producer = None
        self._stopped = True

    def stop(self, *, destroy: bool) -> None:
        """End, whatever is open; without `destroy` librdkafka's threads stay."""
        if not destroy:
            inheritance.leak(self.producer)
        self._destroy = destroy
        self._stopped = True

    def _held(self) -> int:
        return 0 if self.producer is None else len(self.producer)
