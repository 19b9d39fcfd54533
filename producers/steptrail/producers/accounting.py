"""Exact counts of what happened to every event an emitter took, by reason.

    accepted = delivered + failed + dropped + pending + spooled

Each of the six numbers is counted independently, none is derived from the others, so the equation is a real check.
`pending` is a table with one entry for each event that librdkafka holds.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate, count, islice
from types import MappingProxyType
from typing import Any


class DropReason(str, Enum):
    """Why an event never went to librdkafka; it was certainly not delivered."""

    QUEUE_FULL = "queue_full"
    """The bounded queue was full: the broker is away or slower than the emission."""
    TOO_LARGE = "too_large"
    """The encoded event is longer than an event may be."""
    CLOSED = "closed"
    """Emitted after close()."""
    FORK_INHERITED = "fork_inherited"
    """The process forked inside of the call, and the child came out of it."""
    INFRASTRUCTURE = "infrastructure"
    """librdkafka would not start or would not take it; the log says why."""
    INTERRUPTED = "interrupted"
    """Exceptions that others raised into the call, one after the other, left no time to send it."""
    NOT_ENCODED = "not_encoded"
    """Its values could not be encoded, which is a fault of steptrail; the log says which."""


class FailReason(str, Enum):
    """Why an event that librdkafka held was not reported as delivered."""

    TIMED_OUT = "timed_out"
    """No answer came in time: maybe delivered."""
    CUT_OFF = "cut_off"
    """It was on its way, or may have been before, when the emitter was closed: maybe delivered."""
    UNREPORTED = "unreported"
    """librdkafka gave no report of it before the emitter was closed, or the report was lost: maybe delivered."""
    REFUSED_BY_BROKER = "refused_by_broker"
    """The broker said no: not authorised, too large, no such topic …"""
    REFUSED_LATE = "refused_late"
    """It was refused or given up later than a first try takes, so that one before may have been stored, and its
    answer lost: maybe delivered."""
    CLOSED = "closed"
    """It still waited to be sent for the first time when the emitter was closed."""
    INFRASTRUCTURE = "infrastructure"
    """Any other fault on the way."""

    @property
    def maybe_delivered(self) -> bool:
        """Whether the broker may still have stored the event."""
        return self in _MAYBE


_MAYBE = frozenset({FailReason.TIMED_OUT, FailReason.CUT_OFF, FailReason.UNREPORTED, FailReason.REFUSED_LATE})


@dataclass(frozen=True, slots=True)
class Accounting:
    """A consistent snapshot: numbers of events since the emitter (or its process) started."""

    accepted: int
    delivered: int
    failed: Mapping[str, int]
    """By reason, see FailReason; reasons that did not occur are left out."""
    dropped: Mapping[str, int]
    """By reason, see DropReason; reasons that did not occur are left out."""
    pending: int
    spooled: int = 0
    """Not delivered so far, and kept in this emitter's spool or journal, to be sent again; 0 without either."""
    unjournalled: int = 0
    """Events that the journal did not take, whatever became of them; 0 without a journal. No part of the equation."""

    @property
    def lost(self) -> int:
        """Events that were certainly not delivered."""
        return sum(self.dropped.values()) + sum(self.failed.values()) - self.maybe_delivered

    @property
    def maybe_delivered(self) -> int:
        """Events whose delivery is unknown."""
        return sum(n for reason, n in self.failed.items() if FailReason(reason).maybe_delivered)

    @property
    def balanced(self) -> bool:
        """Whether the equation holds; if it does not, steptrail has a bug."""
        return (
            self.accepted
            == self.delivered
            + sum(self.failed.values())
            + sum(self.dropped.values())
            + self.pending
            + self.spooled
        )


class Counters:
    """The counters. The lock makes snapshots consistent; it is re-entrant, since a signal handler may emit while the
    code it interrupts is emitting. It is held for a few operations, never across a call to librdkafka.

    Signal handlers may also raise between any two instructions. So every change of two numbers is one step of an
    iterator written in C, which happens as a whole or not at all. `mark`, if given, grows by one element in that
    same step: its length shows the caller later whether the step happened.
    """

    __slots__ = (
        "_accepted",
        "_delivered",
        "_deliveries",
        "_dropped",
        "_drops",
        "_failed",
        "_failures",
        "_failures_of_spooled",
        "_pending",
        "_refusals",
        "_settled",
        "_spooled",
        "_spoolings",
        "_unspooled",
        "_unspoolings",
        "acceptances",
        "interrupted",
        "lock",
        "offsets",
        "unjournalled",
    )

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._pending: dict[int, int] = {}
        self._accepted = count()
        # A call draws the number, so that accepting needs as much stack as dropping: what was accepted can be dropped.
        accepted = iter(self._accepted.__next__, None)
        # Each number enters the table under the one before it: one object where number and entry would be two.
        self.acceptances: Iterator[int] = accumulate(accepted, self._pending.setdefault, initial=-1)
        """Each step is one event more, pending from now on, and gives its sequence number. It needs no lock."""
        next(self.acceptances)  # the initial value
        leave = iter(self._pending.popitem, None)
        self._delivered, self._spooled, self._unspooled = count(), count(), count()
        self._failed = {reason: count() for reason in FailReason}
        self._dropped = {reason: count() for reason in DropReason}
        self._deliveries = _both(leave, self._delivered)
        self._spoolings = _both(leave, self._spooled)
        self._unspoolings = _both(self._unspooled, self._delivered)
        self._failures = {reason: _both(leave, failed) for reason, failed in self._failed.items()}
        self._failures_of_spooled = {
            reason: _both(self._unspooled, failed) for reason, failed in self._failed.items()
        }
        self._drops = {reason: _both(leave, dropped) for reason, dropped in self._dropped.items()}
        self._refusals = {reason: _both(self.acceptances, drop) for reason, drop in self._drops.items()}
        self.interrupted: Iterator[object] = self._drops[DropReason.INTERRUPTED]
        """Each step drops a pending event, for who can call nothing written in Python any more; it may raise KeyError,
        when the emitter was closed meanwhile."""
        self.unjournalled = count()
        """A step for each event that the journal did not take."""
        self._settled = False
        self.offsets: dict[int, int] = {}
        """Partition -> highest offset that a delivery report named."""

    @property
    def pending(self) -> int:
        """Events that librdkafka holds."""
        return len(self._pending)

    @property
    def delivered(self) -> int:
        """Events stored on the broker."""
        return position(self._delivered)

    def accept(self) -> int:
        """Count one more event as pending; returns its sequence number."""
        return next(self.acceptances)

    def drop(self, reason: DropReason, mark: list[Any] | None = None) -> None:
        """Count a pending event as dropped: librdkafka did not take it."""
        with self.lock:
            if self._settled and not self._pending:
                return  # the emitter closed meanwhile and counted it as unreported
            _step(self._drops[reason], mark)

    def refuse(self, reason: DropReason) -> int:
        """Count one more event as dropped at once; returns its sequence number."""
        with self.lock:
            sequence: int = next(self._refusals[reason])[0]
            return sequence

    def deliver(self, partition: int, offset: int, mark: list[Any] | None = None) -> None:
        """Count a pending event as stored on the broker."""
        with self.lock:
            if self._settled:
                return  # too late: already counted as unreported
            if offset > self.offsets.get(partition, -1):
                self.offsets[partition] = offset
            _step(self._deliveries, mark)

    def fail(self, reason: FailReason, mark: list[Any] | None = None) -> None:
        """Count a pending event as reported undelivered."""
        with self.lock:
            if not self._settled:
                _step(self._failures[reason], mark)

    def spool(self, mark: list[Any] | None = None) -> None:
        """Count a pending event as kept in the spool or the journal."""
        with self.lock:
            if not self._settled:  # else already counted as unreported
                _step(self._spoolings, mark)

    def unspool(self, partition: int, offset: int) -> None:
        """Count a spooled event as resent and stored on the broker."""
        with self.lock:
            if offset > self.offsets.get(partition, -1):
                self.offsets[partition] = offset
            next(self._unspoolings)

    def unspool_failed(self, reason: FailReason) -> None:
        """Count a spooled event as resent and permanently rejected."""
        with self.lock:
            next(self._failures_of_spooled[reason])

    def settle(self, kept: int = 0) -> None:
        """Stop accounting: later reports are ignored. Of the pending events, `kept` are in the journal and the rest
        become UNREPORTED. Can be repeated after an interruption.
        """
        with self.lock:
            while not self._settled and len(self._pending) > kept:
                self.fail(FailReason.UNREPORTED)
            while not self._settled and self._pending:
                self.spool()
            self._settled = True

    def snapshot(self) -> Accounting:
        """All numbers at one instant."""
        with self.lock:
            # Only `accept` bypasses the lock: retry until it did not run in between.
            while True:
                accepted, pending = position(self._accepted), len(self._pending)
                if accepted == position(self._accepted):
                    break
            return Accounting(
                accepted=accepted,
                delivered=position(self._delivered),
                failed=_occurred(self._failed),
                dropped=_occurred(self._dropped),
                pending=pending,
                spooled=position(self._spooled) - position(self._unspooled),
                unjournalled=position(self.unjournalled),
            )


def _both(first: Iterator[Any], second: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(first, second, strict=False)  # a step of the first that fails leaves the second alone


def _step(moves: Iterator[object], mark: list[Any] | None) -> None:
    if mark is None:
        next(moves)
    else:
        mark.extend(islice(moves, 1))


def position(numbers: count[int]) -> int:
    """How many numbers have been drawn from a count that started at 0."""
    # itertools.count shows its position only in its repr: "count(7)".
    return int(repr(numbers)[6:-1])


def _occurred(
    numbers: Mapping[FailReason, count[int]] | Mapping[DropReason, count[int]],
) -> Mapping[str, int]:
    found = ((reason.value, position(number)) for reason, number in numbers.items())
    return MappingProxyType({reason: number for reason, number in found if number})
