"""The emitter's loggers: no process is forked in the middle of a line.

A fork copies the lock of a log file's buffer as it is. `logging` makes its own locks anew in the child, not that one:
were it held by a thread that the child does not have, the child's first line to that file would wait for ever.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

LONGEST_WAIT_S = 1.0
"""A fork waits no longer for a line, nor a line for a fork: a handler may hang, on a full pipe for instance."""

_gate = threading.RLock()
_forking = threading.local()


class ForkSafeLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines a fork waits for, whichever thread writes them."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Write one line, as of the caller."""
        if not self.isEnabledFor(level):
            return
        gate = _gate  # the child of a fork has another
        held = False
        try:
            for held in _held(gate):  # noqa: B007  bound, see there
                self.logger.log(level, msg, *args, stacklevel=2, **kwargs)
        finally:
            if held:
                gate.release()


def _held(gate: threading.RLock) -> Iterator[bool]:
    """Whether the gate is held now, once. For `for`, which binds it in the same step: an exception from outside, a time
    limit's for instance, comes before both or after both, never in between, where the gate would stay held.
    """
    return map(gate.acquire, (True,), (LONGEST_WAIT_S,))


def fork_safe_log(name: str) -> ForkSafeLog:
    """The logger of that name."""
    return ForkSafeLog(logging.getLogger(name), {})


def before_fork() -> None:
    """Keep other threads from beginning a line."""
    for _forking.holds in _held(_gate):
        pass


def after_fork_in_parent() -> None:
    """Let them go on."""
    if _forking.__dict__.pop("holds", False):
        _gate.release()


def after_fork_in_child() -> None:
    """Let this thread log: there is no other."""
    global _gate
    _gate = threading.RLock()
