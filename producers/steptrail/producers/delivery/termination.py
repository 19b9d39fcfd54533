"""SIGTERM in a child of multiprocessing: deliver what is pending, then end as without the handler.

Python runs signal handlers in the main thread, between two bytecodes. A signal that arrives just before that thread
blocks in C, for instance on a pool's next task, is handled only when the call returns, which may be never: the pool
that ends its workers would hang, too. So a second thread watches for the signal and repeats it until the handler runs:
the repetition interrupts the blocking call.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

from steptrail.producers.delivery import threads

_REPEAT_S = 0.1


class Termination:
    """Calls `deliver` at SIGTERM, and ends this process unless `deliver` reports that it is already exiting."""

    def __init__(self, deliver: Callable[[], bool]) -> None:
        self._deliver = deliver
        # Held while the signal is repeated and while the handler marks that it runs: a repetition after that would
        # end the process at once. The handler may interrupt itself meanwhile, hence an RLock.
        self._lock = threading.RLock()
        self._runs = False
        self._pipe: tuple[int, int] | None = None
        self._forking = threading.local()

    def arm(self) -> None:
        """Handle SIGTERM if no other handler is set. Only in the main thread."""
        if signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, self._handle):
            return
        signal.signal(signal.SIGTERM, self._handle)
        if self._pipe is None and not threads.are_green():
            self._watch()

    def before_fork(self) -> None:
        """Hold SIGTERM back, and stop writes to the pipe: the parent would read the child's writes as its own signals.

        Python drops in the child what was noted before its first bytecode: a signal to a child that has just been
        forked would be lost, where without the handler it would have ended the child.
        """
        if signal.getsignal(signal.SIGTERM) == self._handle:
            self._forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        if self._pipe is not None and threading.current_thread() is threading.main_thread():
            self._listen(-1, instead_of=self._pipe[1])

    def after_fork_in_parent(self) -> None:
        """Resume watching, and take signals again."""
        if self._pipe is not None and threading.current_thread() is threading.main_thread():
            self._listen(self._pipe[1], instead_of=-1)
        self._take_signals()

    def after_fork_in_child(self) -> None:
        """Drop the parent's pipe and state, and take signals: what they deliver must be the child's by now."""
        self._lock = threading.RLock()
        self._runs = False
        if self._pipe is not None:
            reader, writer = self._pipe
            self._pipe = None
            self._listen(-1, instead_of=writer)
            os.close(reader)
            os.close(writer)
        self._take_signals()

    def _take_signals(self) -> None:
        mask = self._forking.__dict__.pop("mask", None)
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    @staticmethod
    def _listen(descriptor: int, *, instead_of: int) -> None:
        before = signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
        if before != instead_of:  # another listener took over
            signal.set_wakeup_fd(before)

    def _watch(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        if before != -1:  # an event loop listens, and is woken by the signal itself
            signal.set_wakeup_fd(before)
            os.close(reader)
            os.close(writer)
            return
        self._pipe = reader, writer
        threads.start("steptrail-sigterm", lambda: self._repeat(reader))

    def _repeat(self, reader: int) -> None:
        while signal.SIGTERM not in os.read(reader, 64):
            pass
        pause = threading.Event()
        while not pause.wait(_REPEAT_S):
            with self._lock:
                if self._runs or signal.getsignal(signal.SIGTERM) != self._handle:
                    return
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def _handle(self, number: int, _: object) -> None:
        """A second SIGTERM ends the process at once."""
        with self._lock:
            if self._runs:
                return
            self._runs = True
        signal.signal(number, signal.SIG_DFL)
        ends_by_itself = False
        try:
            ends_by_itself = self._deliver()
        finally:
            if not ends_by_itself:
                os.kill(os.getpid(), number)
