"""Keeps messages that could not be sent in a file, and resends them when the broker is back, in this or a later
process.

A file belongs to one emitter in one process, which holds a lock on it. When that process is gone, an emitter of
another one, with the same folder and topic, takes the file over (`orphans`), sends its messages and removes it.

Messages leave a file only when the broker has acknowledged them, so after a crash some are sent twice. A header marks
each message as resent, so that readers skip events they already have.
"""

from __future__ import annotations

import os
import secrets
import threading
from itertools import islice
from pathlib import Path

from confluent_kafka import Message

from steptrail.producers.accounting import Counters, FailReason
from steptrail.producers.fork_safe_logging import fork_safe_log
from steptrail.producers.persistence.spool_file import OVERHEAD, Spooled, SpoolFile
from steptrail.schemas.errors import ConfigurationError
from steptrail.schemas.foreign import let_through

_log = fork_safe_log("steptrail.emitter")

_SYNC_EVERY_S = 1.0


def prepare_folder(folder: str | os.PathLike[str]) -> Path:
    """Return a spool's folder, created if missing. Raises ConfigurationError when it is not writable."""
    path = Path(folder)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"spool: the folder {path} cannot be made: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigurationError(f"spool: nothing can be written to the folder {path}")
    return path


class Spool:
    """The spool of one emitter in one process, and a Source for resending.

    Any thread may `add` a message that was not sent; `add` does not raise.
    """

    def __init__(self, folder: Path, topic: str, counters: Counters, *, max_bytes: int) -> None:
        self.folder = folder
        self.lock = threading.RLock()  # guards what `add` and reports change: held for one write at most
        self._topic = topic
        self._counters = counters
        self._max_bytes = max_bytes
        self._own: SpoolFile | None = None
        self._read_to = 0
        self._closed = False
        self._sync_at = 0.0
        self._told_full = False

    def add(self, key: bytes | str | None, value: bytes | str | None) -> bool:
        """Keep a message; returns False if it cannot: the file has reached its limit, or the disk is full."""
        if not isinstance(key, bytes) or not isinstance(value, bytes):
            return False
        with self.lock:
            if self._closed:
                return False
            try:
                if self._own is None:
                    name = f"{os.getpid()}-{secrets.token_hex(6)}.spool"
                    self._own = SpoolFile.create(self.folder / name, self._topic)
                    self._read_to = self._own.start
                if self._own.size + OVERHEAD + len(key) + len(value) > self._max_bytes:
                    self._tell_full(f"it has its {self._max_bytes:,} bytes")
                    return False
                self._own.append(key, value)
            except OSError as error:
                let_through(error)  # a foreign time limit may be a TimeoutError
                self._tell_full(error.strerror or type(error).__name__)
                return False
            return True

    def sync(self, now: float) -> None:
        """Called often: syncs to disk every second. Raises OSError."""
        if self._own is not None and now >= self._sync_at:
            self._sync_at = now + _SYNC_EVERY_S
            self._own.sync()

    @property
    def holds_any(self) -> bool:
        """Whether there is anything to resend."""
        return self._own is not None and self._own.size > self._own.start

    def close(self) -> None:
        """Leave the file to the next process; nothing more is accepted."""
        with self.lock:
            self._closed = True
            own, self._own = self._own, None
            if own is None:
                return
            try:
                if own.size == own.start:
                    own.remove()
                else:
                    own.sync()
                    own.close()
            except OSError as error:
                _log.error("closing the spool %s failed: %s", own.path, error.strerror)

    def disown(self) -> None:
        """In a forked child: release the parent's file, so that its lock does not outlive it here."""
        self._closed = True
        if self._own is not None:
            self._own.close()

    # --- the source for resending --------------------------------------------------------------------

    def next(self, most: int) -> list[Spooled]:
        """See Source."""
        if self._own is None:
            return []
        found = list(islice(self._own.read(self._read_to), most))
        if found:
            self._read_to = found[-1].end
        return found

    def confirmed(self, record: Spooled, answer: Message) -> None:
        """See Source."""
        self._counters.unspool(answer.partition() or 0, answer.offset() or 0)

    def refused(self, record: Spooled) -> None:
        """See Source."""
        # If it was sent before it was spooled, the broker may have stored it.
        self._counters.unspool_failed(FailReason.REFUSED_LATE)

    def finish(self) -> bool:
        """See Source. Empties the file."""
        with self.lock:  # so that nothing is added in between
            if self._own is None:
                return True
            if self._read_to < self._own.size:
                return False
            self._own.empty()
            self._read_to = self._own.start
            return True

    def _tell_full(self, why: str) -> None:
        if not self._told_full:
            self._told_full = True
            _log.error("the spool in %s takes no more steps: %s", self.folder, why)
