"""Stops a process on signals."""

from __future__ import annotations

import signal
import threading
from types import FrameType


def stop_at_signals() -> threading.Event:
    """Return an event that the first SIGTERM or Ctrl-C sets; a second signal ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop
