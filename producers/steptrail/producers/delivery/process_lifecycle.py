"""Handles forks and process exit for emitters.

librdkafka does not survive a fork: its threads are not in the child, and destroying it there hangs, at the
latest when the interpreter ends. So the child leaks one reference to every inherited producer, and each emitter
starts afresh: its own id, its own counts, and its own producer when it first emits.

At exit every emitter gets a share of a bounded time to deliver its pending events, and logs what was left.
That needs an exit on which Python runs its handlers: not SIGTERM's default, os._exit or kill -9. In children of
multiprocessing SIGTERM's default is replaced, since `with Pool()` ends workers with SIGTERM after their last task.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
import time
import weakref
from typing import Protocol

from steptrail.producers import fork_safe_logging
from steptrail.producers.delivery.termination import Termination

_log = fork_safe_logging.fork_safe_log("steptrail.emitter")


class Closable(Protocol):
    """Anything that may hold pending events at exit."""

    exit_flush_s: float

    def close_at_exit(self, timeout: float) -> int:
        """Deliver for up to `timeout` seconds; returns how many events were left."""
        ...


class Emitter(Closable, Protocol):
    """What forks need of an emitter."""

    def after_fork_in_child(self) -> None:
        """Start afresh, without touching what the parent's librdkafka holds."""
        ...


class Orphan(Closable, Protocol):
    """The transport of an emitter that was dropped without being closed."""

    def flush(self, timeout: float) -> int:
        """Wait up to `timeout` seconds; returns how many events are still pending."""
        ...


_producers: set[object] = set()
_emitters: list[weakref.ref[Emitter]] = []
_orphans: list[Orphan] = []
_hooked_pid: int | None = None
_closing = False


def keep(producer: object) -> None:
    """Make forked children leak this producer."""
    _producers.add(producer)
    _close_with_the_worker()


def release(producer: object) -> None:
    """Forget the producer before it is destroyed."""
    _producers.discard(producer)


def leak(producer: object) -> None:
    """Never destroy it, not even when the interpreter ends: take a reference that is never released."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(producer))


def adopt(transport: Orphan) -> None:
    """Deliver the last events of a dropped emitter's transport at exit."""
    _orphans[:] = [orphan for orphan in _orphans if orphan.flush(0)]
    _orphans.append(transport)


def enroll(emitter: Emitter) -> None:
    """Handle the emitter, as long as it lives, at forks and at exit."""
    _emitters[:] = [ref for ref in _emitters if ref() is not None]
    _emitters.append(weakref.ref(emitter))


def _alive() -> list[Emitter]:
    return [emitter for ref in list(_emitters) if (emitter := ref()) is not None]


def _before_fork() -> None:
    _termination.before_fork()
    fork_safe_logging.before_fork()


def _after_fork_in_parent() -> None:
    fork_safe_logging.after_fork_in_parent()
    _termination.after_fork_in_parent()


def _after_fork_in_child() -> None:
    fork_safe_logging.after_fork_in_child()
    for producer in _producers:
        leak(producer)
    _producers.clear()
    _orphans.clear()
    for emitter in _alive():
        emitter.after_fork_in_child()
    _termination.after_fork_in_child()


def close_all() -> None:
    """Deliver what is pending in every emitter, within the longest of their bounds, and close them."""
    global _closing
    _closing = True
    try:
        emitters: list[Closable] = [*_alive(), *_orphans]
        deadline = time.monotonic() + max((emitter.exit_flush_s for emitter in emitters), default=0.0)
        for emitter in emitters:
            left = emitter.close_at_exit(min(emitter.exit_flush_s, max(0.0, deadline - time.monotonic())))
            if left:
                _log.warning("the process exits with %d steps that were not delivered", left)
    finally:
        _closing = False


def _end() -> None:
    """Close everything, and keep what could not be closed from being destroyed by the interpreter's end.

    Its poll thread may still be in librdkafka then, where destroying it would abort the process.
    """
    close_all()
    for producer in list(_producers):  # a poll thread may release one meanwhile
        leak(producer)


def _close_with_the_worker() -> None:
    """Children of multiprocessing and Celery's workers exit by os._exit, which skips atexit. But multiprocessing runs
    its own finalizers, as does Celery's fork of it, and Celery's pool signals that a worker ends.
    """
    global _hooked_pid
    process = sys.modules.get("multiprocessing.process")
    if process is None or _hooked_pid == os.getpid():
        return
    # `parent_process` knows nothing of the children of Celery's fork; this is None in a main process only.
    if getattr(process.current_process(), "_parent_pid", None) is None:
        return
    from multiprocessing.util import Finalize

    _hooked_pid = os.getpid()
    Finalize(None, close_all, exitpriority=-1)
    # Only if no other handler is set, and only in the main thread, where Python allows it.
    is_main = threading.current_thread() is threading.main_thread()
    if is_main:
        _termination.arm()
    if signals := sys.modules.get("celery.signals"):
        signals.worker_process_shutdown.connect(_close_all_of_celery, weak=False)


def _close_all_of_celery(**_: object) -> None:
    close_all()


def _close_for_sigterm() -> bool:
    if _closing:  # the process is already exiting, within the same bounds
        return True
    close_all()
    return False


_termination = Termination(_close_for_sigterm)
os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
atexit.register(_end)
