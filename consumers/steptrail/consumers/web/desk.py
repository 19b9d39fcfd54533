"""What every question needs: the store within limits, freshness, the board, and the threads that ask them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from steptrail.consumers.health.check import HealthCheck, HealthCheckManager
from steptrail.consumers.loop.freshness import Freshness
from steptrail.consumers.web.board import BoardKeeper
from steptrail.consumers.web.freshness import GOOD_FOR_S, FreshnessKeeper
from steptrail.consumers.web.kept import Kept
from steptrail.consumers.web.problems import ProblemError
from steptrail.consumers.web.service.now import NumbersKeeper
from steptrail.consumers.web.workers import SharedWork
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.errors import StoreUnavailable
from steptrail.projections.clickhouse.queries import ask
from steptrail.schemas.configuration.settings import Settings

R = TypeVar("R")

PATIENCE_S: Final = 1.8
"""A store that does not answer is said to be away after so long."""
SLOW_S: Final = 25.0
"""One that answers others may take so long over one question."""
_PING_AFTER_S: Final = 0.5
_THREADS: Final = 16
_PIPELINES_GOOD_FOR_S: Final = 10.0
_MOST_PIPELINES: Final = 1000

LIMITS: Final[Mapping[str, Any]] = {
    "max_execution_time": 20,
    "max_memory_usage": 1_500_000_000,
    "max_result_rows": 1_000_000,
}
"""Of every question that is asked for a page or the API."""


class LimitedStore:
    """A store whose questions each have bounded time, memory and rows."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self.max_name_bytes = clickhouse.max_name_bytes

    def rows(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """As `ClickHouse.rows`."""
        return self._clickhouse.rows(sql, parameters, {**LIMITS, **(settings or {})})


class Desk:
    """Everything that is open while the API runs. Close it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clickhouse = connect(settings, timeout=30.0)
        self.store = LimitedStore(self.clickhouse)
        self.health = HealthCheckManager(settings)
        self.board = BoardKeeper(settings)
        self.board.start()
        self.freshness = FreshnessKeeper(settings, self.store)
        self.numbers = NumbersKeeper(self.store, self.freshness.current)
        self.work = SharedWork("steptrail-web", _THREADS)
        self._pings = SharedWork("steptrail-web-ping", 1, most_waiting=0)
        self._ping = connect(settings, timeout=2.0)
        self._checks: Kept[HealthCheck] = Kept(GOOD_FOR_S)
        self._pipelines: Kept[list[str]] = Kept(_PIPELINES_GOOD_FOR_S)

    def check(self, pipeline: str | None) -> HealthCheck:
        """How everything is, or one pipeline, a moment ago; `checked_at` says when. Raises nothing."""
        return self._checks.get(pipeline, lambda: self.health.perform_health_check(pipeline))

    def pipelines(self) -> list[str]:
        """The pipelines of which anything was heard; a new one may be missing for a moment. Raises what `ask` does."""
        return self._pipelines.get(
            "all",
            lambda: [
                str(row["pipeline"]) for row in ask(self.store, "known_pipelines", {"fetch": _MOST_PIPELINES})
            ],
        )

    async def ask(self, key: Hashable, question: Callable[[], R]) -> tuple[Freshness, R]:
        """What `question` finds, and the freshness of before. Equal keys that overlap are asked once.

        Raises what the question does; ProblemError (503) after PATIENCE_S where the store does not answer anybody, and
        after SLOW_S where it answers others.
        """

        def task() -> tuple[Freshness, R]:
            fresh = self.freshness.current()
            return fresh, question()

        return await self.wait(self.work.submit(key, task))

    async def wait(self, future: Future[R], slow_s: float = SLOW_S) -> R:
        """The result of work that is under way, within the bounds that `ask` names."""
        waited = asyncio.wrap_future(future)
        done, _ = await asyncio.wait({waited}, timeout=_PING_AFTER_S)
        if not done:
            ping = asyncio.wrap_future(self._pings.submit("ping", self._ping.ping))
            done, _ = await asyncio.wait({waited}, timeout=PATIENCE_S - _PING_AFTER_S)
            if not done:
                answers = ping.done() and not ping.cancelled() and ping.exception() is None
                if not answers:
                    _forget(waited, ping)
                    raise ProblemError(503, "store_unavailable", self._away(ping))
                done, _ = await asyncio.wait({waited}, timeout=slow_s - PATIENCE_S)
            _forget(ping)
        if not done:
            _forget(waited)
            raise ProblemError(
                503,
                "store_refused",
                f"the store has not answered this within {slow_s:g} s: narrow the question",
            )
        return waited.result()

    def close(self) -> None:
        """Let go of everything."""
        self.work.close()
        self._pings.close()
        self.freshness.close()
        self.board.close()
        self.health.close()
        self.clickhouse.close()
        self._ping.close()

    def _away(self, ping: asyncio.Future[None]) -> str:
        if ping.done() and isinstance(error := ping.exception(), StoreUnavailable):
            return str(error).partition("\n")[0]
        target = self.clickhouse.target
        return f"ClickHouse at {target.host}:{target.port} did not answer within {PATIENCE_S:g} s"


def _forget(*futures: asyncio.Future[Any]) -> None:
    """Nobody waits for them any more; what they raise is nobody's business."""
    for future in futures:
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
