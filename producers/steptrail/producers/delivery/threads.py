"""Background threads, also where gevent or eventlet have replaced threads with greenlets.

They patch the modules `threading` and `time`, before or after steptrail is imported. A thread started then is a
greenlet: it must yield by itself, and a blocking call into C stops the whole process.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any

# Not what a fault raises in the thread itself.
_SIGNALS = signal.valid_signals() - {
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGABRT,
}


def are_green() -> bool:
    """Whether a thread started now would be a greenlet."""
    return not isinstance(_thread.start_new_thread, BuiltinFunctionType)


def start(name: str, run: Callable[[], None]) -> threading.Thread:
    """Start a daemon thread without waiting for it; raises RuntimeError when no thread can be started.

    `Thread.start` waits until the thread runs. A signal handler that raises meanwhile would leave a lock that both need
    held for ever, so the wait happens in a thread where no signal handler runs.

    The thread takes no signals: a program that blocks one in its only thread, as Celery's workers do while they hold
    the lock of a shared queue, must not get it by one of ours. librdkafka's threads take none either.
    """
    thread = threading.Thread(target=run, name=name, daemon=True)
    if are_green():  # it shares this operating system thread
        _thread.start_new_thread(thread.start, ())
    else:
        _thread.start_new_thread(_without_signals, (thread.start,))
    return thread


def start_real(run: Callable[[], None]) -> None:
    """Run a function that blocks in C in a real operating system thread, even under gevent or eventlet."""
    start_new_thread: Callable[..., Any] = _thread.start_new_thread
    if are_green():
        if monkey := sys.modules.get("gevent.monkey"):
            start_new_thread = monkey.get_original("_thread", "start_new_thread")
        elif patcher := sys.modules.get("eventlet.patcher"):
            start_new_thread = patcher.original("_thread").start_new_thread
    start_new_thread(_without_signals, (run,))


def _without_signals(run: Callable[[], None]) -> None:
    """What this operating system thread starts inherits that it takes no signals."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    run()


def pause(seconds: float) -> None:
    """Sleep, and let other threads and greenlets run."""
    if are_green() and isinstance(time.sleep, BuiltinFunctionType):  # only the threads were replaced
        threading.Event().wait(seconds)
    else:
        time.sleep(seconds)
