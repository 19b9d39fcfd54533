"""An emitter's files with messages to resend: its spool, its journal, and orphans of other processes."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from steptrail.producers.accounting import Counters
from steptrail.producers.fork_safe_logging import fork_safe_log
from steptrail.producers.persistence.journal import Journal
from steptrail.producers.persistence.orphans import LeftBehind
from steptrail.producers.persistence.resending import Produce, Resender, Source
from steptrail.producers.persistence.spool import Spool
from steptrail.schemas.configuration.settings import Settings

_log = fork_safe_log("steptrail.emitter")


class Keeping:
    """The files of one emitter in one process. `tick` is for the poll thread; nothing here raises."""

    def __init__(self, settings: Settings, spool: Path | None, topic: str, counters: Counters) -> None:
        self.spool: Spool | None = None
        self.journal: Journal | None = None
        folders: list[Path] = []
        if spool is not None:
            folders.append(spool)
            self.spool = Spool(spool, topic, counters, max_bytes=settings.spool_max_bytes)
        if settings.journal_dir is not None:
            folder = Path(settings.journal_dir)
            self.journal = Journal(folder, topic, counters, max_bytes=settings.journal_max_bytes)
            folders.append(self.journal.folder)
        self._counters = counters
        self._left = LeftBehind(folders, topic)
        self._resender = Resender(
            topic,
            self.spool.lock if self.spool else threading.RLock(),
            self._next_source,
            lambda: counters.delivered,
        )
        # Files stay open while this is held. Re-entrant: a signal handler may call `close` during `close`.
        self._ticking = threading.RLock()
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether messages are being resent, or soon will be, without a failure so far."""
        # A short-lived process must resend orphans, too: perhaps no other process ever does.
        left = self._left.holding or (self._counters.offsets and not self._left.began)
        return self._resender.busy or bool(left and not self._resender.paused)

    def tick(self, produce: Produce) -> None:
        """Called often: syncs spooled messages to disk every second, and resends."""
        now = time.monotonic()
        with self._ticking:
            if self._closed:
                return
            try:
                if self.spool is not None:
                    self.spool.sync(now)
                if self.journal is not None:
                    self.journal.tick()
                self._resender.tick(produce, now)
            except OSError as error:
                self._resender.pause(now)
                _log.error("resending failed: %s", error)

    def close(self) -> None:
        """Leave the files to the next process; nothing more is accepted."""
        with self._ticking:
            self._closed = True
            for kept in (self.spool, self.journal, self._left):
                if kept is not None:
                    kept.close()

    def disown(self) -> None:
        """In a forked child: release the parent's files."""
        self._closed = True
        for kept in (self.spool, self.journal, self._left):
            if kept is not None:
                kept.disown()

    def _next_source(self, now: float) -> Source | None:
        for own in (self.spool, self.journal):
            if own is not None and own.holds_any:
                return own
        # Only once the broker has answered: what arrives then is ordered after what it already had.
        return self._left.next(now) if self._counters.offsets else None
