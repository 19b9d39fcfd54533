"""A thread that runs one task after another, so that the thread that polls Kafka never blocks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

R = TypeVar("R")


class WorkerThread:
    """Runs tasks in the order of submission, in its own daemon thread.

    A daemon, because a task may hang on a ClickHouse that does not answer, and the process must still end at its
    deadline. (`concurrent.futures.ThreadPoolExecutor` joins its threads at exit.)
    """

    def __init__(self, name: str) -> None:
        self._tasks: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, task: Callable[[], R]) -> Future[R]:
        """Queue `task`; the future holds its result or exception."""
        future: Future[R] = Future()
        self._tasks.put((future, task))
        return future

    def close(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the queued tasks to end; returns whether they did."""
        self._tasks.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._tasks.get()) is not None:
            future, task = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = task()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            # Do not keep the last batch alive while waiting for the next one.
            del item, future, task
