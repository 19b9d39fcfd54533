"""Estimates the offset between this process's clock and the brokers' from delivery reports.

The broker reports when it appended a message (LogAppendTime): after `produce`, before the report. With those two
times by this clock, the offset lies between append - report and append - produce. Every report narrows that interval;
the narrowest of the last minutes is the estimate. It is accurate to some milliseconds, since a message waits for
`linger_ms` and the network.

Times that steptrail takes itself are corrected by it when it is clearly off: `correction_us` is added to them, never to
a caller's. It stays the same while it agrees with the estimate, so that times of one emitter do not jump.

All emitters of a process with the same brokers share one, and so do forked children: the clock is the host's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

CORRECT_FROM_US: Final = 500_000
"""A clock that is certainly off by more than this is corrected; microseconds."""

_GENERATION_NS: Final = 60_000_000_000
_STEP_NS: Final = 100_000_000
_TOLERATED_US: Final = 50_000


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """What to add to this clock to get the brokers': bounds in microseconds."""

    low_us: int
    high_us: int

    @property
    def offset_us(self) -> int:
        """The midpoint in microseconds: positive when this clock is behind."""
        return (self.low_us + self.high_us) // 2

    @property
    def uncertainty_us(self) -> int:
        """By how many microseconds the offset may differ from the midpoint."""
        return (self.high_us - self.low_us + 1) // 2

    def meet(self, other: ClockOffset | None) -> ClockOffset | None:
        """The intersection of both intervals; None when they contradict each other."""
        if other is None:
            return self
        low, high = max(self.low_us, other.low_us), min(self.high_us, other.high_us)
        return ClockOffset(low, high) if low <= high else None


class BrokerClock:
    """Learns from delivery reports. Needs no lock: any order of two concurrent updates is as good as another."""

    def __init__(
        self,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._steady_ns = steady_ns
        self._base_ns = wall_ns() - steady_ns()
        self._young: ClockOffset | None = None
        self._old: ClockOffset | None = None
        self._turns_at = 0
        self.due = True
        """Whether a report is wanted: one is enough for each round of polling."""
        self.known: ClockOffset | None = None
        """What is known now; None before the first report, and after the clock was set."""
        self.correction_us = 0
        """What is added to measured times; 0 while the offset is unknown or small."""

    def look(self) -> None:
        """Called often: asks for a new report, and drops the estimate after this clock was set."""
        self.due = True
        base_ns = self._wall_ns() - self._steady_ns()
        if abs(base_ns - self._base_ns) > _STEP_NS:
            self._young = self._old = self.known = None
            self.correction_us = 0
        self._base_ns = base_ns  # a slewed clock drifts slowly

    def learn(self, message: Message) -> None:
        """Learn from the report of one delivered message."""
        self.due = False
        kind, append_ms = message.timestamp()
        latency_s = message.latency()
        if kind == TIMESTAMP_LOG_APPEND_TIME and latency_s is not None and latency_s >= 0:
            self.take(append_ms, latency_s)

    def take(self, append_ms: int, latency_s: float) -> None:
        """Learn from a message appended at `append_ms` (epoch) and sent `latency_s` seconds before now."""
        self.look()
        self.due = False
        now_us = self._wall_ns() // 1000
        # The broker truncates its time to milliseconds.
        told = ClockOffset(append_ms * 1000 - now_us, append_ms * 1000 + 1000 - now_us + int(latency_s * 1e6))
        now_ns = self._steady_ns()
        if now_ns >= self._turns_at:
            self._old, self._young, self._turns_at = self._young, None, now_ns + _GENERATION_NS
        young = told.meet(self._young)
        if (
            young is None
        ):  # trust the newest: a clock was set, on either side, or another broker's clock differs
            self._old, young = None, told
        self._young = young
        known = young.meet(self._old)
        if known is None:
            self._old, known = None, young
        self.known = known
        self.correction_us = self._corrected(known)

    def _corrected(self, known: ClockOffset) -> int:
        if (
            now := self.correction_us
        ) and known.low_us - _TOLERATED_US <= now <= known.high_us + _TOLERATED_US:
            return now
        least = min(abs(known.low_us), abs(known.high_us))
        off = known.low_us > 0 or known.high_us < 0
        return known.offset_us if off and least > max(CORRECT_FROM_US, 2 * known.uncertainty_us) else 0


_clocks: dict[str, BrokerClock] = {}


def broker_clock(kafka: str) -> BrokerClock:
    """This process's clock for the brokers in the bootstrap list `kafka`."""
    return _clocks.setdefault(kafka, BrokerClock())
