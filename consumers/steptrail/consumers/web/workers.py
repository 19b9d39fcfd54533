"""Threads that ask the store and the broker, so that none of them holds up a request that needs neither."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar

from steptrail.consumers.web.problems import ProblemError
from steptrail.projections.clickhouse.concurrency import together

R = TypeVar("R")


class SharedWork:
    """Runs tasks in daemon threads; tasks with equal keys that overlap are run once, and share their result.

    Daemons, because a task may hang on a store that does not answer. `most_waiting` tasks may wait for a thread;
    beyond, `ProblemError` (503).
    """

    def __init__(self, name: str, threads: int, most_waiting: int = 200) -> None:
        self._tasks: queue.SimpleQueue[tuple[Hashable, Future[Any], Callable[[], Any]] | None] = (
            queue.SimpleQueue()
        )
        self._flights: dict[Hashable, Future[Any]] = {}
        self._lock = threading.Lock()
        self._most = most_waiting + threads
        self.shared = 0
        self.asked = 0
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, key: Hashable, task: Callable[[], R]) -> Future[R]:
        """The result of `task`, or of the one with that key that is under way."""
        with self._lock:
            under_way = self._flights.get(key)
            if under_way is not None:
                self.shared += 1
                return under_way
            if len(self._flights) >= self._most:
                raise ProblemError(
                    503,
                    "busy",
                    "too many questions wait for an answer: ask again in a moment",
                    headers={"Retry-After": "2"},
                )
            future: Future[R] = Future()
            self._flights[key] = future
            self.asked += 1
        self._tasks.put((key, future, task))
        return future

    def close(self) -> None:
        """Let the threads end when they are done."""
        for _ in self._threads:
            self._tasks.put(None)

    def _run(self) -> None:
        while (item := self._tasks.get()) is not None:
            key, future, task = item
            try:
                result = task()
            except BaseException as error:  # raised where it is waited for
                self._done(key)
                future.set_exception(error)
                del error
            else:
                self._done(key)
                future.set_result(result)
                del result
            del item, future, task

    def _done(self, key: Hashable) -> None:
        # Before the result is there: who asks from now on wants to know what is so from now on.
        with self._lock:
            self._flights.pop(key, None)


def side_by_side(*questions: Callable[[], Any]) -> list[Any]:
    """What each question finds, all asked at the same time. Raises what the first that failed raised."""
    found: list[Any] = [None] * len(questions)

    def ask(number: int, question: Callable[[], Any], context: Context) -> None:
        found[number] = context.run(question)

    # Each in a copy of the caller's context, which says what its statements are for.
    together([partial(ask, number, question, copy_context()) for number, question in enumerate(questions)])
    return found
