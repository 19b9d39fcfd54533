"""Identities that sort by the time of their making: UUIDv7 (RFC 9562), 16 bytes in network order."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from struct import Struct
from time import time_ns

_BLOCK = 512  # random numbers drawn at a time: one system call for 512 ids
_numbers = Struct(f"<{_BLOCK}Q")
_halves = Struct(">QQ")


class _Uuid7Source:
    """Makes ids that strictly grow within the process; safe for threads, and re-seeded in forked children.

    The 12 bits after the milliseconds hold their fraction (RFC 9562, method 3), so that ids of one
    process keep their order within a millisecond; 62 random bits keep those of many processes apart.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._random: Iterator[int] = iter(())

    def make(self) -> bytes:
        with self._lock:
            milliseconds, rest = divmod(time_ns(), 1_000_000)
            moment = milliseconds << 12 | (rest << 12) // 1_000_000
            if moment <= self._last:
                moment = self._last + 1
            self._last = moment
            try:
                low = next(self._random)
            except StopIteration:
                low = self._refill()
        return _halves.pack((moment >> 12 & 0xFFFF_FFFF_FFFF) << 16 | 0x7000 | moment & 0xFFF, low)

    def _refill(self) -> int:
        # The two variant bits stand before 62 random ones.
        drawn = _numbers.unpack(os.urandom(8 * _BLOCK))
        self._random = iter([number >> 2 | 1 << 63 for number in drawn])
        return next(self._random)


_source = _Uuid7Source()
# A child must neither repeat its parent's numbers nor wait for a lock that was held at the fork.
os.register_at_fork(after_in_child=_source.reset)

uuid7 = _source.make


def new_execution_id() -> bytes:
    """A fresh id for one run of one step."""
    return uuid7()


def new_emitter_id() -> bytes:
    """A fresh id for an emitter: 8 random bytes."""
    return os.urandom(8)
