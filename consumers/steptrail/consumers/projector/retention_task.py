"""Removes what is too old by the rules, once a day and when the rules change, beside the projector."""

from __future__ import annotations

import logging
import threading
from datetime import datetime

from steptrail.consumers.runtime.background import BackgroundPart
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import QueryError
from steptrail.projections.lifecycle.retention import apply, today
from steptrail.projections.lifecycle.retention_rules import RetentionRules, retention_rules
from steptrail.schemas.errors import InfrastructureError

LOOK_EVERY_S = 60.0


class RetentionTask(BackgroundPart):
    """Looks every minute whether there is anything to do; several of them get in nobody's way."""

    def __init__(self, clickhouse: ClickHouse, stop: threading.Event) -> None:
        super().__init__("retention", stop, logging.getLogger("steptrail.consumers.retention"))
        self._clickhouse = clickhouse
        self._done: tuple[datetime, RetentionRules] | None = None

    def run(self) -> None:
        """Apply the rules until `stop` is set. Errors are logged, and the next look tries again."""
        while not self._stop.is_set():
            try:
                self.look()
            except (InfrastructureError, QueryError) as error:
                self._log.warning("retention cannot be applied now: %s", str(error).partition("\n")[0])
            self._stop.wait(LOOK_EVERY_S)

    def look(self) -> None:
        """Apply the rules, if that was not done today under these rules."""
        wanted = today(self._clickhouse), retention_rules(self._clickhouse)
        if wanted == self._done:
            return
        for removed in apply(self._clickhouse, wanted[1]):
            self._log.info(
                "removed what is too old",
                extra={"table": removed.table, "rows": removed.rows, "dropped_parts": removed.dropped_parts},
            )
        self._done = wanted
