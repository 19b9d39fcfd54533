"""Up to when the tables know everything, kept at hand, so that no answer waits for the broker to say so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from steptrail.consumers.loop.freshness import Freshness, read_freshness
from steptrail.projections.clickhouse.queries import Store
from steptrail.schemas.configuration.settings import Settings

GOOD_FOR_S: Final = 2.0
"""So old an answer may be: what it says of `as_of` stays true, there is only less of it."""
_EVERY_S: Final = 1.0
_PATIENCE_S: Final = 1.0
_ASKED_FOR_S: Final = 30.0


class FreshnessKeeper:
    """Asks every second while anybody wants to know, and not otherwise. `current` never waits longer than a second."""

    def __init__(
        self, settings: Settings, store: Store, *, read: Callable[..., Freshness] = read_freshness
    ) -> None:
        self._settings, self._store, self._read = settings, store, read
        self._changed = threading.Condition()
        self._latest: Freshness | None = None
        self._read_at = 0.0
        self._wanted_at = float("-inf")
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="steptrail-web-freshness", daemon=True)
        self._thread.start()

    def current(self) -> Freshness:
        """How fresh the tables were at a moment at most GOOD_FOR_S ago; ask before the question that it is about."""
        until = time.monotonic() + _PATIENCE_S
        with self._changed:
            self._wanted_at = time.monotonic()
            self._changed.notify_all()
            while self._latest is None or time.monotonic() - self._read_at > GOOD_FOR_S:
                left = until - time.monotonic()
                if left <= 0 or self._closed:
                    return Freshness(problem=f"Kafka at {self._settings.kafka} did not answer in time")
                self._changed.wait(left)
            return self._latest

    def is_blind(self) -> bool:
        """Whether store or broker did not answer when last asked; never waits."""
        with self._changed:
            self._wanted_at = time.monotonic()
            self._changed.notify_all()
            return self._latest is not None and self._latest.problem is not None

    def close(self) -> None:
        """Ask no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and time.monotonic() - self._wanted_at > _ASKED_FOR_S:
                    self._changed.wait()
                if self._closed:
                    return
            found = self._read(self._settings, self._store, patience=_PATIENCE_S)
            with self._changed:
                self._latest, self._read_at = found, time.monotonic()
                self._changed.notify_all()
                # One that wants to know wakes us only where what we have is too old.
                until = self._read_at + _EVERY_S
                while not self._closed and (left := until - time.monotonic()) > 0:
                    self._changed.wait(left)
