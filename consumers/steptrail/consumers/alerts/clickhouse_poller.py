"""Polls ClickHouse for error groups and for the health consumer's reports. Alerting continues without it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from steptrail.consumers.alerts.model.alert import ERROR_GROUP, Alert, rfc3339
from steptrail.consumers.alerts.model.levels import Level, group_level
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.errors import QueryError
from steptrail.projections.lifecycle.backups import is_catching_up
from steptrail.projections.reading.alert_sources import UNKNOWN_TABLE, alerting_groups
from steptrail.projections.stores.health_store import SightRow, latest_sight
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import SteptrailError

_log = logging.getLogger("steptrail.consumers.alerts")

ASK_EVERY_S = 5.0
ASK_FOR_GROUPS_EVERY_S = 15.0
"""The query reads every group."""
STORE_TIMEOUT_S = 20.0
SILENT_AFTER_S = 60.0
"""The health consumer reports every few seconds; an alert waits longer than a health check does (15 s)."""

SIGHT = "sight"


class Sources:
    """Polls every few seconds in its own thread; `version` grows when an answer differs from the previous one.

    `groups` are the NEW or REGRESSED ones, None while unknown: alerts about groups then do not change. `sight` is the
    level for verdicts that cannot be trusted, None while they can. An answer holds until the next one; `fault` states
    why the latest poll failed.
    """

    def __init__(self, settings: Settings, wants_groups: Callable[[], bool]) -> None:
        self.groups: list[Level] | None = None
        self.sight: Level | None = None
        self.sight_known = False
        self.fault: str | None = None
        self.version = 0
        self._wants_groups = wants_groups
        self._ask_for_groups_at = 0.0
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts-sources", daemon=True)
        self._thread.start()

    def levels(self) -> list[Level]:
        """The levels that follow from the answers."""
        return [*(self.groups or ()), *([self.sight] if self.sight is not None else [])]

    def unknown(self, alert: Alert) -> bool:
        """Whether it is unknown if the alert's condition still holds."""
        if alert.kind == ERROR_GROUP:
            return self.groups is None
        return alert.kind == SIGHT and not alert.pipeline and not self.sight_known

    def close(self) -> None:
        """Stop polling."""
        self._stop.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        clickhouse: ClickHouse | None = None
        while not self._stop.is_set():
            try:
                clickhouse = clickhouse or connect(self._settings, timeout=STORE_TIMEOUT_S)
                self._ask(clickhouse)
                fault = None
            except SteptrailError as error:
                fault = str(error).partition("\n")[0]
            except Exception as error:  # a malformed answer must not end the thread silently
                _log.exception("cannot take in what ClickHouse answered")
                fault = f"ClickHouse's answer: {type(error).__name__}"
            if fault is not None and self.fault is None:
                _log.warning("error groups and the health consumer cannot be asked for: %s", fault)
            self.fault = fault
            self._stop.wait(ASK_EVERY_S)
        if clickhouse is not None:
            clickhouse.close()

    def _ask(self, clickhouse: ClickHouse) -> None:
        before = (self.groups, self.sight, self.sight_known)
        sight = _sight(clickhouse)
        if sight is None or (sight.seeing and sight.age_s <= SILENT_AFTER_S):
            self.sight = None
        else:
            if sight.age_s > SILENT_AFTER_S:
                why = f"nothing has been heard of the health consumer since {rfc3339(sight.at)}"
            else:
                why = f"the health consumer does not see: {sight.reason}"
            began = sight.at if self.sight is None else self.sight.since
            self.sight = Level("", "", SIGHT, HealthStatus.UNKNOWN, why, began)
        self.sight_known = True
        if not self._wants_groups():
            self.groups = []
        elif time.monotonic() >= self._ask_for_groups_at:
            self._ask_for_groups_at = time.monotonic() + ASK_FOR_GROUPS_EVERY_S
            # Groups that a restored store does not have yet have not ended.
            self.groups = (
                None
                if is_catching_up(clickhouse)
                else [
                    group_level(
                        each.group_id,
                        each.pipeline,
                        each.step_name,
                        each.error_type,
                        each.template,
                        each.state,
                        each.since,
                    )
                    for each in alerting_groups(clickhouse)
                ]
            )
        if before != (self.groups, self.sight, self.sight_known):
            self.version += 1


def _sight(clickhouse: ClickHouse) -> SightRow | None:
    """The latest report; None also while its table does not exist yet."""
    try:
        return latest_sight(clickhouse)
    except QueryError as error:
        if error.code == UNKNOWN_TABLE:
            return None
        raise
