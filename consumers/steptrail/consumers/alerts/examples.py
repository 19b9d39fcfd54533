"""Example documents for what fires, asked for in a thread beside: an alert never waits for them.

Beside them, which of the documents and groups that alerts name were erased since: these are to be named no more.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from steptrail.consumers.alerts.delivery.chat_text import cut
from steptrail.consumers.alerts.model.alert import ERROR_GROUP, Alert
from steptrail.consumers.alerts.model.levels import Level
from steptrail.consumers.alerts.model.reconcile import NOTHING_ERASED, Erased
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.reading.alert_examples import alert_examples
from steptrail.projections.reading.erased import erased_documents, groups_that_are_no_more
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import SteptrailError

_log = logging.getLogger("steptrail.consumers.alerts")

MOST_LEVELS = 200
"""So many alerts at a time have examples; in a larger outage they are examples enough."""
ASK_AGAIN_S = 60.0
MOST_CHARACTERS = 200
TIMEOUT_S = 10.0


class Examples:
    """`version` grows when an answer differs; what was found holds until what it is about has ended.

    `erased` is what alerts name and must not any more, as far as was found out.
    """

    def __init__(self, settings: Settings) -> None:
        self.version = 0
        self.erased: Erased = NOTHING_ERASED
        self._named = NOTHING_ERASED
        self._asked_for_erased = -ASK_AGAIN_S
        self._found: dict[str, tuple[str, ...]] = {}
        self._asked: dict[str, float] = {}
        self._wanted: Mapping[str, Level] = {}
        self._settings = settings
        self._stop = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="alerts-examples", daemon=True)
        self._thread.start()

    def of(self, levels: Mapping[str, Level]) -> dict[str, Level]:
        """The levels with what examples are known, at once; those that are not known yet are asked for."""
        with self._changed:
            self._wanted = dict(list(levels.items())[:MOST_LEVELS])
            self._found = {of: found for of, found in self._found.items() if of in levels}
            self._changed.notify()
            return {of: replace(level, examples=self._found.get(of)) for of, level in levels.items()}

    def watch(self, alerts: Iterable[Alert]) -> None:
        """Find out now and then what of these alerts was erased: their examples, and groups that have ended."""
        alerts = list(alerts)
        named = Erased(
            frozenset((alert.pipeline, each) for alert in alerts for each in alert.examples),
            frozenset(
                alert.labels["group_id"]
                for alert in alerts
                if alert.kind == ERROR_GROUP and not alert.firing and "group_id" in alert.labels
            ),
        )
        with self._changed:
            self._named = named
            self._changed.notify()

    def close(self) -> None:
        """Ask no more."""
        with self._changed:
            self._stop = True
            self._changed.notify()
        self._thread.join(1.0)

    def _run(self) -> None:
        with connect(self._settings, timeout=TIMEOUT_S) as clickhouse:
            while (due := self._next()) is not None:
                if isinstance(due, Level):
                    self._ask(clickhouse, due)
                else:
                    self._ask_for_erased(clickhouse, due)

    def _next(self) -> Level | Erased | None:
        """What to ask for; waits for it. None at the end."""
        with self._changed:
            while not self._stop:
                now = time.monotonic()
                erased_at = (
                    math.inf if self._named == NOTHING_ERASED else self._asked_for_erased + ASK_AGAIN_S
                )
                if erased_at <= now:
                    self._asked_for_erased = now
                    return self._named
                self._asked = {of: at for of, at in self._asked.items() if of in self._wanted}
                due = [(self._asked.get(of, -ASK_AGAIN_S), of) for of in self._wanted]
                asked_at, of = min(due, default=(now, ""))
                if of and asked_at + ASK_AGAIN_S <= now:
                    self._asked[of] = now
                    return self._wanted[of]
                wake_at = min(erased_at, asked_at + ASK_AGAIN_S if of else math.inf)
                self._changed.wait(None if wake_at == math.inf else max(0.1, wake_at - now))
            return None

    def _ask_for_erased(self, clickhouse: ClickHouse, named: Erased) -> None:
        try:
            found = Erased(
                erased_documents(clickhouse, named.documents),
                groups_that_are_no_more(clickhouse, named.groups),
            )
        except SteptrailError as error:
            _log.debug("what was erased is not known: %s", error)
            return
        with self._changed:
            if found != self.erased:
                self.erased = found
                self.version += 1

    def _ask(self, clickhouse: ClickHouse, level: Level) -> None:
        try:
            found = alert_examples(clickhouse, level.kind, level.pipeline, level.step, level.subject)
        except SteptrailError as error:
            _log.debug("no examples: %s", error)
            return
        except Exception:  # an answer that makes no sense must not end the thread unheard
            _log.exception("cannot take in what ClickHouse answered")
            return
        told = tuple(cut(each, MOST_CHARACTERS) for each in found)
        with self._changed:
            if level.id in self._wanted and told != self._found.get(level.id):
                self._found[level.id] = told
                self.version += 1
