"""A background thread of a service."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod


class BackgroundPart(ABC):
    """A part of a service (`steptrail.consumers.runtime.service`) whose failure ends the whole service.

    Subclasses implement `run`, which returns soon after `stop` is set. `failure` is the exception that ended it
    earlier. A daemon thread: a part that hangs on a server does not keep the process from ending.
    """

    def __init__(self, name: str, stop: threading.Event, log: logging.Logger) -> None:
        self.failure: BaseException | None = None
        self._name = name
        self._stop = stop
        self._log = log
        self._thread = threading.Thread(target=self._run, name=f"steptrail-{name}", daemon=True)

    @abstractmethod
    def run(self) -> None:
        """Work until `stop` is set."""

    def start(self) -> None:
        """Start the thread; setting `stop` ends it."""
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the end; returns whether it has ended, or was never started."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self.failure = error
            self._stop.set()
            self._log.exception("%s ended: %s", self._name, error)
