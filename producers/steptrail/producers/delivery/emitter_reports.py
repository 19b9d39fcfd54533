"""What an emitter tells the topic of emitters about itself: how many events it took, and what became of them.

A report is no event: it is not counted, and nobody waits for it but `close`. It goes through the emitter's own
librdkafka producer, so that it says what it says by the way that the events go; where that is shut, the report is
given up and made anew later, with newer numbers.

None is sent before the broker has answered for an event. So a queue that fills up because there is no broker is never
shared with a report, and STARTED also says that events of this emitter get through.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

import orjson
from confluent_kafka import KafkaError, Message

from steptrail.producers.accounting import Accounting, Counters, FailReason
from steptrail.producers.broker_clock import BrokerClock
from steptrail.producers.fork_safe_logging import fork_safe_log
from steptrail.schemas.emitter_report import EmitterReport, ReportKind, encode_report
from steptrail.schemas.foreign import let_through

_log = fork_safe_log("steptrail.emitter")

REPORT_EVERY_S: Final = 30.0
_LOOK_EVERY_S: Final = 1.0

Produce = Callable[..., None]
"""A librdkafka producer's own `produce`, which waits for nothing."""


class SelfReport:
    """The reports of one emitter in one process. `tick` is for the poll thread, `last_word` for who closes.

    Nothing here raises, and what goes wrong only costs a report.
    """

    def __init__(
        self,
        counters: Counters,
        topic: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        broker_clock: BrokerClock | None = None,
    ) -> None:
        self._counters = counters
        self._topic = topic
        self._clock = clock
        self._broker_clock = BrokerClock() if broker_clock is None else broker_clock
        self._early: tuple[int, int] | None = (
            None  # events that came before times were corrected, and by how much
        )
        self._told_us = 0  # the correction as last told
        self._answers = {
            ReportKind.STARTED: self._on_start,
            ReportKind.RUNNING: self._on_report,
            ReportKind.CLOSED: self._on_last_word,
        }
        self._lock = threading.RLock()  # re-entrant: a signal handler may close what is being closed
        self._identity: tuple[bytes, str, str] | None = None
        self._look_at = 0.0
        self._lost: int | None = None  # as last told; None when nothing was told, or it did not arrive
        self._started = False  # STARTED was sent, and has not failed
        self._closed = False
        self.on_denial: Callable[[KafkaError, str], None] = _pass_over
        """Called with an error, which may be that a right is missing, and the topic."""
        self.settled = False
        """CLOSED has met its fate, or is not to be sent."""

    def introduce(self, emitter_id: bytes, pipeline: str, worker: str) -> None:
        """Who reports."""
        self._identity = (emitter_id, pipeline, worker)

    def tick(self, produce: Produce) -> None:
        """Called often: sends STARTED once events get through, then RUNNING every 30 s while events are lost, or when
        times begin to be corrected, or by another offset.
        """
        self._note_early()
        now = self._clock()
        if now < self._look_at:
            return
        with self._lock:
            if self._closed:
                return
            accounting = self._counters.snapshot()
            if not _reached(accounting):
                return
            lost = _lost(accounting)
            self._look_at = now + _LOOK_EVERY_S
            if not self._started:
                self._started = self._send(produce, ReportKind.STARTED, accounting)
            elif (lost != self._lost or self._broker_clock.correction_us != self._told_us) and self._send(
                produce, ReportKind.RUNNING, accounting
            ):
                self._look_at = now + REPORT_EVERY_S
            else:
                return
            self._lost = lost

    def last_word(self, produce: Produce) -> None:
        """Send CLOSED, once: nothing that happens from now on is reported."""
        with self._lock:
            if self._closed:
                return
            self._note_early()
            accounting = self._counters.snapshot()
            if not (_reached(accounting) and self._send(produce, ReportKind.CLOSED, accounting)):
                self.settled = True
            self._closed = True

    def _note_early(self) -> None:
        if self._early is None and (correction_us := self._broker_clock.correction_us):
            self._early = self._counters.snapshot().accepted, correction_us

    def _clock_told(self) -> dict[str, object] | None:
        """The clock, for a report: what is known of it, and what readers need for what came before that."""
        known = self._broker_clock.known
        if known is None:
            return None
        told: dict[str, object] = {
            "offset_ms": known.offset_us / 1000,
            "uncertainty_ms": known.uncertainty_us / 1000,
        }
        if self._early is not None:
            told["early_events"], early_us = self._early
            told["early_offset_ms"] = early_us / 1000
        return told

    def _send(self, produce: Produce, kind: ReportKind, accounting: Accounting) -> bool:
        if self._identity is None:
            return False
        emitter_id, pipeline, worker = self._identity
        try:
            reasons: dict[str, object] = {
                "failed": dict(accounting.failed),
                "dropped": dict(accounting.dropped),
            }
            if accounting.spooled:
                reasons["spooled"] = accounting.spooled
            if accounting.unjournalled:
                reasons["unjournalled"] = accounting.unjournalled
            told_us = self._broker_clock.correction_us
            if (kind is not ReportKind.RUNNING or told_us or self._told_us) and (clock := self._clock_told()):
                reasons["clock"] = clock
            value = encode_report(
                EmitterReport(
                    emitter_id=emitter_id,
                    pipeline=pipeline,
                    worker=worker,
                    kind=kind,
                    reported_at=time.time_ns() // 1000,
                    accepted=accounting.accepted,
                    delivered=accounting.delivered,
                    failed=sum(accounting.failed.values()),
                    maybe_delivered=accounting.maybe_delivered,
                    dropped=sum(accounting.dropped.values()),
                    pending=accounting.pending + accounting.spooled,  # what may still arrive
                    reasons=orjson.dumps(reasons).decode(),
                )
            )
            produce(self._topic, value, emitter_id.hex().encode(), -1, self._answers[kind])
        except Exception as error:  # a full queue, mostly
            let_through(error)
            _log.debug("the emitter's report was not sent: %s", type(error).__name__)
            return False
        self._told_us = told_us
        return True

    def _on_report(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed(error)
            self._lost = None  # so that the next one is due

    def _on_start(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed(error)
            self._started = False
            self._look_at = self._clock() + REPORT_EVERY_S

    def _on_last_word(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed(error)
        self.settled = True

    def _failed(self, error: KafkaError) -> None:
        self.on_denial(error, self._topic)
        _log.debug("the emitter's report did not arrive: %s", error.name())


def _pass_over(_error: KafkaError, _topic: str) -> None:
    return


def _lost(accounting: Accounting) -> int:
    return accounting.lost + accounting.maybe_delivered


def _reached(accounting: Accounting) -> bool:
    """Whether a broker ever answered for an event, with yes or no."""
    refusals = {FailReason.REFUSED_BY_BROKER.value, FailReason.REFUSED_LATE.value}
    return accounting.delivered > 0 or not refusals.isdisjoint(accounting.failed)
