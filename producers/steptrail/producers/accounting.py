"""What became of every event that an emitter took: counted, by reason, at every moment exactly.

    accepted = delivered + failed + dropped + pending + spooled

Each of the six is counted by itself, none is worked out from the others: that is what makes the equation
worth checking. `pending` is a table with one entry for each event that librdkafka holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import count
from types import MappingProxyType


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
    NOT_ENCODED = "not_encoded"
    """Its values could not be encoded, which is a fault of steptrail; the log says which."""


class FailReason(str, Enum):
    """Why an event that librdkafka held was not reported as delivered."""

    TIMED_OUT = "timed_out"
    """No answer came in time: maybe delivered."""
    CUT_OFF = "cut_off"
    """It was on its way, or may have been before, when the emitter was closed: maybe delivered."""
    UNREPORTED = "unreported"
    """librdkafka gave no report of it before the emitter was closed: maybe delivered."""
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
        """Whether the broker may have stored it all the same."""
        return self in _MAYBE


_MAYBE = frozenset({FailReason.TIMED_OUT, FailReason.CUT_OFF, FailReason.UNREPORTED, FailReason.REFUSED_LATE})


@dataclass(frozen=True, slots=True)
class Accounting:
    """A consistent snapshot: numbers of events since the emitter (or its process) began."""

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
        """Events of which nobody knows."""
        return sum(n for reason, n in self.failed.items() if FailReason(reason).maybe_delivered)

    @property
    def balanced(self) -> bool:
        """Whether the equation holds; if it ever does not, steptrail lies and that is a bug."""
        return (
            self.accepted
            == self.delivered
            + sum(self.failed.values())
            + sum(self.dropped.values())
            + self.pending
            + self.spooled
        )


class _Tally:
    """A number that only grows by one, in one atomic step."""

    __slots__ = ("_count", "add")

    def __init__(self) -> None:
        self._count = count()
        self.add: Callable[[], int] = self._count.__next__

    @property
    def value(self) -> int:
        return position(self._count)


class Counters:
    """The counting itself. The lock makes snapshots consistent; it is re-entrant, since a signal handler
    may emit while the interrupted code does. Held for a few operations, never across a call to librdkafka.
    """

    __slots__ = (
        "_accepted",
        "_delivered",
        "_dropped",
        "_failed",
        "_pending",
        "_settled",
        "_spooled",
        "accept",
        "lock",
        "offsets",
        "unjournalled",
    )

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._pending: dict[int, int] = {}
        self._accepted = count()
        self.accept: Callable[[], int] = map(self._pending.setdefault, self._accepted, count()).__next__
        """One event more, pending from now on; its sequence number.

        No method, and without the lock: one step of the iterator draws the number and enters it as pending,
        in one operation that no thread or signal handler can come between.
        """
        self._delivered = _Tally()
        self._failed = {reason: _Tally() for reason in FailReason}
        self._dropped = {reason: _Tally() for reason in DropReason}
        self.unjournalled = _Tally()
        """Events that the journal did not take."""
        self._settled = False
        self._spooled = 0
        self.offsets: dict[int, int] = {}
        """Partition -> highest offset that a delivery report named."""

    @property
    def pending(self) -> int:
        """Events that librdkafka holds."""
        return len(self._pending)

    def drop(self, reason: DropReason) -> None:
        """A pending event did not get into librdkafka."""
        with self.lock:
            if self._settled and not self._pending:
                return  # it was being sent while the emitter closed, and was counted as unreported
            self._pending.popitem()
            self._dropped[reason].add()

    def refuse(self, reason: DropReason) -> int:
        """One event more, dropped at once; its sequence number."""
        with self.lock:
            sequence = self.accept()
            self.drop(reason)
            return sequence

    def deliver(self, partition: int, offset: int) -> None:
        """A pending event is stored on the broker."""
        with self.lock:
            if self._settled:
                return  # too late: it was counted as unreported
            self._pending.popitem()
            self._delivered.add()
            if offset > self.offsets.get(partition, -1):
                self.offsets[partition] = offset

    def fail(self, reason: FailReason) -> None:
        """A pending event was reported as not delivered."""
        with self.lock:
            if self._settled:
                return
            self._pending.popitem()
            self._failed[reason].add()

    def spool(self) -> None:
        """A pending event is kept in the spool, or in the journal."""
        with self.lock:
            if self._settled:
                return  # it was counted as unreported
            self._pending.popitem()
            self._spooled += 1

    def unspool(self, partition: int, offset: int) -> None:
        """A kept event was sent again, and is stored on the broker."""
        with self.lock:
            self._spooled -= 1
            self._delivered.add()
            if offset > self.offsets.get(partition, -1):
                self.offsets[partition] = offset

    def unspool_failed(self, reason: FailReason) -> None:
        """A kept event was sent again, and refused for good."""
        with self.lock:
            self._spooled -= 1
            self._failed[reason].add()

    def settle(self, kept: int = 0) -> None:
        """Nothing more will be reported, later reports are ignored. Of what is pending now, `kept` are in the journal,
        the rest becomes UNREPORTED.
        """
        with self.lock:
            for _ in range(min(kept, len(self._pending))):
                self.spool()
            while self._pending:
                self.fail(FailReason.UNREPORTED)
            self._settled = True

    def snapshot(self) -> Accounting:
        """All numbers at one moment."""
        with self.lock:
            # Only `accept` goes past the lock: look until it did not in between.
            while True:
                accepted, pending = position(self._accepted), len(self._pending)
                if accepted == position(self._accepted):
                    break
            return Accounting(
                accepted=accepted,
                delivered=self._delivered.value,
                failed=_occurred(self._failed),
                dropped=_occurred(self._dropped),
                pending=pending,
                spooled=self._spooled,
                unjournalled=self.unjournalled.value,
            )


def position(numbers: count[int]) -> int:
    """How many numbers have been drawn from a count that began at 0."""
    # itertools.count shows where it is only so: "count(7)".
    return int(repr(numbers)[6:-1])


def _occurred(tallies: Mapping[FailReason, _Tally] | Mapping[DropReason, _Tally]) -> Mapping[str, int]:
    return MappingProxyType({reason.value: n for reason, tally in tallies.items() if (n := tally.value)})
