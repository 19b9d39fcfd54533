"""Ctrl-C ends a long wait for the network at the first press."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

_EVERY_S = 0.2


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Interrupt the main thread's system calls from time to time, so that it sees a signal that came just before one.

    Python runs signal handlers between instructions. A signal that arrives after the last of them and before a system
    call has begun to wait is noted, and handled when the call returns: when the answer is there. A timer makes the call
    return; Python then handles what it noted, and continues the call (PEP 475). Does nothing in other threads.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, _EVERY_S, _EVERY_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
