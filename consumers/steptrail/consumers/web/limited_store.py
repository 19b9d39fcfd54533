"""The store as pages and the API ask it: each statement within limits, and only so many at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from typing import Any, Final, TypeVar

from prometheus_client import Counter

from steptrail.consumers.web.problems import ProblemError
from steptrail.projections.clickhouse.client import ClickHouse

R = TypeVar("R")

LIMITS: Final[Mapping[str, Any]] = {
    "max_execution_time": 20,
    "max_memory_usage": 1_500_000_000,
    "max_result_rows": 1_000_000,
}
"""Of every statement that is asked for a page or the API."""


class Lane(Enum):
    """What a statement is for. Statements of one lane never wait for those of another."""

    PROMPT = "prompt"
    LONG = "long"
    """It may look through much: searches, files."""
    COUNTING = "counting"
    """It goes through all executions."""
    RENEWAL = "renewal"
    """Nobody waits for it."""


PATIENCE_S: Final[Mapping[Lane, float]] = {
    Lane.PROMPT: 10.0,
    Lane.LONG: 10.0,
    Lane.COUNTING: 60.0,
    Lane.RENEWAL: 15.0,
}
"""So long a statement waits for its turn."""
_MORE: Final[Mapping[Lane, Mapping[str, Any]]] = {Lane.COUNTING: {"max_execution_time": 60}}
"""What lanes may beyond LIMITS: the next who asks is given a count for which the first did not wait."""


_LANE: ContextVar[Lane] = ContextVar("lane", default=Lane.PROMPT)


@contextmanager
def lane(chosen: Lane) -> Iterator[None]:
    """Statements within are of this lane, also those that `side_by_side` asks in other threads."""
    token = _LANE.set(chosen)
    try:
        yield
    finally:
        _LANE.reset(token)


def in_lane(chosen: Lane, question: Callable[[], R]) -> Callable[[], R]:
    """The question, its statements in this lane."""

    def asked() -> R:
        with lane(chosen):
            return question()

    return asked


class LimitedStore:
    """A store that runs `at_once` prompt statements at a time, as many long ones, and one of each other lane.

    A statement that gets no turn within its lane's patience raises ProblemError (503, `busy`).
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        at_once: int,
        *,
        on_asked: Counter | None = None,
        patience_s: Mapping[Lane, float] = PATIENCE_S,
    ) -> None:
        self._clickhouse, self._on_asked, self._patience_s = clickhouse, on_asked, patience_s
        self._turns = {
            each: threading.Semaphore(at_once if each in (Lane.PROMPT, Lane.LONG) else 1) for each in Lane
        }
        self.max_name_bytes = clickhouse.max_name_bytes

    def rows(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """As `ClickHouse.rows`."""
        chosen = _LANE.get()
        turns, patience_s = self._turns[chosen], self._patience_s[chosen]
        if not turns.acquire(timeout=patience_s):
            raise ProblemError(
                503,
                "busy",
                f"other questions keep the store busy: no turn within {patience_s:g} s; ask again in a moment"
                " (STEPTRAIL_WEB_STATEMENTS says how many statements may run at a time)",
                headers={"Retry-After": "2"},
            )
        if self._on_asked is not None:
            self._on_asked.labels(chosen.value).inc()
        try:
            return self._clickhouse.rows(
                sql, parameters, {**LIMITS, **_MORE.get(chosen, {}), **(settings or {})}
            )
        finally:
            turns.release()
