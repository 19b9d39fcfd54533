"""Minutes and error groups, counted beside the judging while this member leads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from steptrail.consumers.health.progress import Progress
from steptrail.consumers.runtime.backoff import Backoff, BackoffPolicy
from steptrail.projections.aggregates.aggregates import Aggregates
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.schemas.errors import InfrastructureError

_log = logging.getLogger("steptrail.consumers.judging")

TURN_S = 0.25


class Counting:
    """Runs `Aggregates` in a thread of its own; faults of the store are waited out.

    `topic_id` is that of the steps topic, None while it is not known.
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        progress: Progress,
        topic_id: Callable[[], str | None],
        *,
        leading: Callable[[], bool],
        stop: threading.Event,
    ) -> None:
        self._clickhouse = clickhouse
        self._progress = progress
        self._topic_id = topic_id
        self._leading = leading
        self._stop = stop
        self._aggregates: Aggregates | None = None
        self._thread = threading.Thread(target=self._run, name="steptrail-counting", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin; `stop` ends it."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait `timeout` seconds for the end."""
        self._thread.join(timeout)

    def _run(self) -> None:
        backoff = Backoff(BackoffPolicy(first=1.0, cap=30.0))
        retry_at = 0.0
        try:
            while not self._stop.is_set():
                time.sleep(TURN_S)
                if not self._leading():
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
                        "counting minutes and error groups waits for %s",
                        fault,
                        extra={"retry_in_seconds": round(delay, 2)},
                    )
                else:
                    backoff.succeeded()
        except BaseException as error:
            self.failure = error
            self._stop.set()
            _log.exception("counting ended: %s", error)

    def _turn(self) -> None:
        topic_id = self._topic_id()
        if topic_id is None:
            return
        if self._aggregates is None:
            self._aggregates = Aggregates(self._clickhouse, topic_id=topic_id)
            self._progress.take_written()
            self._aggregates.count_now()  # what another member left to be counted
        for written in self._progress.take_written():
            self._aggregates.refresh(written.first_ms, written.last_ms, written.reached)
        self._aggregates.count_if_due()
