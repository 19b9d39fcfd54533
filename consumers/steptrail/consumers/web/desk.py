"""What every question needs: the store within limits, freshness, the board, and the threads that ask them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from steptrail.consumers.health.check import HealthCheck, HealthCheckManager
from steptrail.consumers.web.board import BoardKeeper
from steptrail.consumers.web.found import Found, fresh, freshness_of
from steptrail.consumers.web.freshness import GOOD_FOR_S, FreshnessKeeper
from steptrail.consumers.web.kept import Kept
from steptrail.consumers.web.kept_answers import KeptAnswers
from steptrail.consumers.web.limited_store import Lane, LimitedStore, in_lane
from steptrail.consumers.web.metrics import WebMetrics
from steptrail.consumers.web.models.common import Answer
from steptrail.consumers.web.problems import ProblemError
from steptrail.consumers.web.service.now import Now, NumbersKeeper
from steptrail.consumers.web.workers import SharedWork
from steptrail.projections.clickhouse.client import connect
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


class Desk:
    """Everything that is open while the API runs. Close it."""

    def __init__(self, settings: Settings, metrics: WebMetrics | None = None) -> None:
        self.settings = settings
        self._metrics = metrics or WebMetrics()
        self.clickhouse = connect(settings, timeout=30.0)
        self.store = LimitedStore(self.clickhouse, settings.web_statements, on_asked=self._metrics.statements)
        self.health = HealthCheckManager(settings)
        self.board = BoardKeeper(settings)
        self.board.start()
        # One statement a second, which is not to wait for its turn.
        self.freshness = FreshnessKeeper(settings, LimitedStore(self.clickhouse, 1))
        self.numbers = NumbersKeeper(self.store, self.freshness.current)
        self.answers = KeptAnswers()
        self.work = SharedWork("steptrail-web", _THREADS)
        self._renewals = SharedWork("steptrail-web-renewals", 2, most_waiting=100)
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

    async def ask(self, key: Hashable, question: Callable[[], R]) -> Found[R]:
        """What `question` finds, and the freshness of before. Equal keys that overlap are asked once.

        Raises what the question does; ProblemError (503) after PATIENCE_S where the store does not answer anybody, and
        after SLOW_S where it answers others.
        """
        return await self.wait(self.work.submit((self.answers.era, key), lambda: self._find(question)))

    async def answer(self, key: Hashable, question: Callable[[], R], *, newest: bool = False) -> Found[R]:
        """The same, or what was found a moment ago where that is kept; `newest`: never that.

        `key` is all that the answer depends on, the pipelines that may be seen among it.
        """
        found = None if newest or self.freshness.is_blind() else self.answers.get(key)
        if found is None:
            return await self.wait(self._submit(self.work, key, question))
        self._metrics.kept_answers.inc()
        if self.answers.claim_renewal(key):
            try:
                self._submit(self._renewals, key, in_lane(Lane.RENEWAL, question))
            except ProblemError:  # too many renewals wait
                self.answers.drop(key)
        return found

    def changed(self) -> None:
        """Something was changed: whoever asks from now on is given nothing that was asked for before."""
        self.answers.clear()
        self._checks.clear()

    def _submit(self, work: SharedWork, key: Hashable, question: Callable[[], R]) -> Future[Found[R]]:
        era = self.answers.era

        def task() -> Found[R]:
            try:
                found = self._find(question)
            except BaseException:
                self.answers.drop(key)
                raise
            self.answers.keep(key, era, found)
            return found

        return work.submit((era, key), task)

    def _find(self, question: Callable[[], R]) -> Found[R]:
        freshness = self.freshness.current()
        began = self.answers.clock()
        result = question()
        if isinstance(result, Now):
            return Found(result.freshness, result, began)
        if isinstance(result, Answer):
            result = fresh(result, freshness)
            freshness = freshness_of(result, freshness)
        return Found(freshness, result, began)

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
        self._renewals.close()
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
