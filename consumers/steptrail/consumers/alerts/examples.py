"""Example documents for what fires, asked for in a thread beside: an alert never waits for them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from steptrail.consumers.alerts.delivery.chat_text import cut
from steptrail.consumers.alerts.model.levels import Level
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.reading.alert_examples import alert_examples
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import SteptrailError

_log = logging.getLogger("steptrail.consumers.alerts")

MOST_LEVELS = 200
"""So many alerts at a time have examples; in a larger outage they are examples enough."""
ASK_AGAIN_S = 60.0
MOST_CHARACTERS = 200
TIMEOUT_S = 10.0


class Examples:
    """`version` grows when an answer differs; what was found holds until what it is about has ended."""

    def __init__(self, settings: Settings) -> None:
        self.version = 0
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
            return {of: replace(level, examples=self._found.get(of, ())) for of, level in levels.items()}

    def close(self) -> None:
        """Ask no more."""
        with self._changed:
            self._stop = True
            self._changed.notify()
        self._thread.join(1.0)

    def _run(self) -> None:
        with connect(self._settings, timeout=TIMEOUT_S) as clickhouse:
            while (level := self._next()) is not None:
                self._ask(clickhouse, level)

    def _next(self) -> Level | None:
        """What to ask for; waits for it. None at the end."""
        with self._changed:
            while not self._stop:
                now = time.monotonic()
                self._asked = {of: at for of, at in self._asked.items() if of in self._wanted}
                due = [(self._asked.get(of, -ASK_AGAIN_S), of) for of in self._wanted]
                asked_at, of = min(due, default=(now, ""))
                if of and asked_at + ASK_AGAIN_S <= now:
                    self._asked[of] = now
                    return self._wanted[of]
                self._changed.wait(max(0.1, asked_at + ASK_AGAIN_S - now) if of else None)
            return None

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
            if level.id in self._wanted and told != self._found.get(level.id, ()):
                self._found[level.id] = told
                self.version += 1
