"""Maintains minute aggregates and error group counts while this member leads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from steptrail.consumers.health.progress import Progress
from steptrail.consumers.loop.feed import Leadership
from steptrail.consumers.runtime.background import BackgroundPart
from steptrail.consumers.runtime.backoff import Backoff, BackoffPolicy
from steptrail.projections.aggregates.aggregates import Aggregates
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.schemas.errors import InfrastructureError

_log = logging.getLogger("steptrail.consumers.judging")

TURN_S = 0.25


class Counting(BackgroundPart):
    """Runs `Aggregates` while this member leads; waits while ClickHouse is unavailable.

    `topic_id` returns the id of the steps topic, None while unknown.
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        progress: Progress,
        topic_id: Callable[[], str | None],
        *,
        leadership: Leadership,
        stop: threading.Event,
    ) -> None:
        super().__init__("counting", stop, _log)
        self._clickhouse = clickhouse
        self._progress = progress
        self._topic_id = topic_id
        self._leadership = leadership
        self._aggregates: Aggregates | None = None

    def run(self) -> None:
        """Count until `stop` is set."""
        backoff = Backoff(BackoffPolicy(first=1.0, cap=30.0))
        retry_at = 0.0
        while not self._stop.wait(TURN_S):
            if not self._leadership.held:
                self._aggregates = None
                continue
            if time.monotonic() < retry_at:
                continue
            try:
                self._turn()
            except InfrastructureError as fault:
                delay = backoff.failed()
                retry_at = time.monotonic() + delay
                _log.warning(
                    "aggregation of minutes and error groups waits for %s",
                    fault,
                    extra={"retry_in_seconds": round(delay, 2)},
                )
            else:
                backoff.succeeded()

    def _turn(self) -> None:
        topic_id = self._topic_id()
        if topic_id is None:
            return
        if self._aggregates is None:
            self._aggregates = Aggregates(self._clickhouse, topic_id=topic_id)
            self._progress.take_written()
            self._aggregates.count_now()  # what another member left uncounted
        for written in self._progress.take_written():
            self._aggregates.refresh(written.first_ms, written.last_ms, written.reached)
        self._aggregates.count_if_due()
