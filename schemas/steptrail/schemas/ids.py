"""Ids that sort by creation time: UUIDv7 (RFC 9562), 16 bytes in network order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from struct import Struct
from threading import RLock
from time import time_ns

_BLOCK = 512  # random numbers drawn at a time: one system call for 512 ids
_numbers = Struct(f"<{_BLOCK}Q")
_halves = Struct(">QQ")


def _source() -> tuple[Callable[[], bytes], Callable[[], None]]:
    """Return the function that generates ids and the one that resets it; a closure costs half of an object."""
    lock = RLock()
    last = 0
    drawn: Iterator[int] = iter(())

    def uuid7() -> bytes:
        """A new id, greater than all earlier ones of this process; safe for threads and in forked children.

        The 12 bits after the milliseconds hold their fraction (RFC 9562, method 3), so that ids of one process stay
        ordered within a millisecond; 62 random bits distinguish processes.
        """
        nonlocal last, drawn
        with lock:
            moment = (time_ns() << 12) // 1_000_000
            if moment <= last:
                moment = last + 1
            last = moment
            low = next(drawn, None)
            if low is None:
                # The two variant bits precede 62 random ones.
                drawn = iter([number >> 2 | 1 << 63 for number in _numbers.unpack(os.urandom(8 * _BLOCK))])
                low = next(drawn)
        return _halves.pack((moment << 4 & 0xFFFF_FFFF_FFFF_0000) | 0x7000 | (moment & 0xFFF), low)

    def forget() -> None:
        nonlocal lock, last, drawn
        lock, last, drawn = RLock(), 0, iter(())

    return uuid7, forget


uuid7, _forget = _source()
# A child must neither repeat its parent's numbers nor wait for a lock held at the fork.
os.register_at_fork(after_in_child=_forget)


def new_execution_id() -> bytes:
    """A new id for one run of one step."""
    return uuid7()


def new_emitter_id() -> bytes:
    """A new id for an emitter: 8 random bytes."""
    return os.urandom(8)


def ms_of_id(identity: bytes) -> int:
    """The creation time in a 16-byte UUIDv7: milliseconds since 1970 by its creator's clock."""
    return int.from_bytes(identity[:6], "big")
