"""The skeleton of every service: logging, the status server, its threads, and a shutdown within a deadline."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, TypeVar

from typing_extensions import Self

from steptrail.consumers.runtime.background import BackgroundPart
from steptrail.consumers.runtime.deadline import Deadline
from steptrail.consumers.runtime.json_logging import configure_logging
from steptrail.consumers.runtime.status import Status
from steptrail.consumers.runtime.status_server import Metrics, StatusServer
from steptrail.schemas.configuration.settings import Settings

P = TypeVar("P", bound=BackgroundPart)
C = TypeVar("C", bound="Closable")


class Closable(Protocol):
    """Something that holds connections."""

    def close(self) -> None:
        """Close them."""
        ...


class Stopping(threading.Event):
    """An event that is also set when `asked` is. `deadline` starts when that is first seen."""

    def __init__(self, asked: threading.Event, seconds: float) -> None:
        super().__init__()
        self._asked = asked
        self._seconds = seconds
        self._deadline: Deadline | None = None

    @property
    def deadline(self) -> Deadline:
        """The deadline of the shutdown."""
        self._deadline = self._deadline or Deadline(self._seconds)
        return self._deadline

    def is_set(self) -> bool:
        """Whether to stop; does not wait."""
        stop = super().is_set() or self._asked.is_set()
        if stop:
            _ = self.deadline
        return stop

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds, or for ever without one; returns whether to stop."""
        waited = Deadline(float("inf") if timeout is None else timeout)
        while not self.is_set() and waited.remaining() > 0:
            super().wait(min(waited.remaining(), 0.1))
        return self.is_set()


class Service:
    """A context manager for one service.

    Enter it, register its parts with `add` and its resources with `closing`, then `run` the main loop. On exit it sets
    `stopping`, waits for the parts in the order of registration, closes the resources in reverse order, and raises the
    error that ended a part. All of that takes at most `settings.shutdown_timeout_s` from the moment `stop` is set.

    It serves metrics and status from the start, if `settings.metrics_port` is set.
    """

    def __init__(
        self,
        settings: Settings,
        stop: threading.Event,
        status: Status,
        metrics: Metrics,
        *,
        log: logging.Logger,
    ) -> None:
        self.stopping = Stopping(stop, settings.shutdown_timeout_s)
        self._settings = settings
        self._status = status
        self._metrics = metrics
        self._log = log
        self._parts: list[BackgroundPart] = []
        self._resources = ExitStack()

    def add(self, part: P) -> P:
        """Run `part` concurrently with the main loop."""
        self._parts.append(part)
        return part

    def closing(self, resource: C) -> C:
        """Close `resource` on exit, after all parts have ended."""
        self._resources.callback(resource.close)
        return resource

    def run(self, main: Callable[[threading.Event], None]) -> None:
        """Start the parts, then run `main` until `stopping` is set."""
        for part in self._parts:
            part.start()
        main(self.stopping)

    def __enter__(self) -> Self:
        if not logging.getLogger("steptrail").hasHandlers():
            configure_logging()
        if (port := self._settings.metrics_port) is not None:
            host = self._settings.metrics_host
            server = self.closing(StatusServer(self._status, self._metrics, host=host, port=port))
            self._log.info("serving metrics", extra={"host": host, "port": server.port})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        deadline = self.stopping.deadline
        for part in self._parts:
            part.join(deadline.remaining())
        self._resources.close()
        failure = next((part.failure for part in self._parts if part.failure is not None), None)
        if error is None and failure is not None:
            raise failure
