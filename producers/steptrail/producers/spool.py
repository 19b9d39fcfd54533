"""What could not be sent is kept in a file, and sent again when the broker is back: by this process or the next one.

A file belongs to one emitter in one process, which holds a lock on it. When that process is gone, an emitter of
another one, with the same folder and topic, takes the file over, sends what is in it and removes it.

Messages leave a file only when the broker has confirmed them: so after a crash some are sent twice. Each message that
is sent again says so in its header, by which readers pass over events that they have.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, Message

from steptrail.producers.accounting import Counters, FailReason
from steptrail.producers.refusals import refused
from steptrail.producers.spool_file import OVERHEAD, NotASpoolError, Spooled, SpoolFile
from steptrail.schemas.errors import ConfigurationError
from steptrail.schemas.foreign import let_through
from steptrail.schemas.headers import RESENT

_log = logging.getLogger("steptrail.emitter")

_CHUNK = 1000
_FIRST_PAUSE_S = 0.5
_LAST_PAUSE_S = 15.0
_SYNC_EVERY_S = 1.0
_LOOK_EVERY_S = 10.0

Produce = Callable[..., None]


def prepare_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder of a spool, made where it is missing. Raises ConfigurationError when nothing can be written there."""
    path = Path(folder)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"spool: the folder {path} cannot be made: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigurationError(f"spool: nothing can be written to the folder {path}")
    return path


class Spool:
    """The spool of one emitter in one process.

    `add` is for whoever finds that a message was not sent, in any thread; `tick` for the poll thread. Neither raises.
    """

    def __init__(self, folder: Path, topic: str, counters: Counters, *, max_bytes: int) -> None:
        self._folder = folder
        self._topic = topic
        self._counters = counters
        self._max_bytes = max_bytes
        self._lock = threading.RLock()  # for what `add` and reports touch: held for one write at most
        self._ticking = threading.Lock()  # files stay open while it is held
        self._own: SpoolFile | None = None
        self._resending: _Resending | None = None
        self._closed = False
        self._sync_at = 0.0
        self._look_at = 0.0
        self._told_full = False
        self._pause = 0.0
        self._resume_at = 0.0

    def add(self, key: bytes | str | None, value: bytes | str | None) -> bool:
        """Keep a message; False when that cannot be: the file has its full size, the disk is full."""
        if not isinstance(key, bytes) or not isinstance(value, bytes):
            return False
        with self._lock:
            if self._closed:
                return False
            try:
                if self._own is None:
                    name = f"{os.getpid()}-{secrets.token_hex(6)}.spool"
                    self._own = SpoolFile.create(self._folder / name, self._topic)
                if self._own.size + OVERHEAD + len(key) + len(value) > self._max_bytes:
                    self._tell_full(f"it has its {self._max_bytes:,} bytes")
                    return False
                self._own.append(key, value)
            except OSError as error:
                let_through(error)  # a time limit may be a TimeoutError
                self._tell_full(error.strerror or type(error).__name__)
                return False
            return True

    def tick(self, produce: Produce) -> None:
        """Called often: brings what was written to the disk every second, and sends again what there is."""
        now = time.monotonic()
        with self._ticking:
            if self._closed:
                return
            try:
                if self._own is not None and now >= self._sync_at:
                    self._sync_at = now + _SYNC_EVERY_S
                    self._own.sync()
                self._resend(produce, now)
            except OSError as error:
                self._resume_at = now + _LAST_PAUSE_S
                _log.error("the spool in %s failed: %s", self._folder, error.strerror)

    @property
    def busy(self) -> bool:
        """Whether messages are being sent again, and that did not fail so far."""
        return self._resending is not None and not self._pause

    def close(self) -> None:
        """Leave what is in the files to the next process; nothing is taken in any more."""
        with self._ticking, self._lock:
            self._closed = True
            resending, self._resending = self._resending, None
            own, self._own = self._own, None
            files = {id(f): f for f in (own, resending.file if resending else None) if f is not None}
            for file in files.values():
                try:
                    if file.size == file.start:
                        file.remove()
                    else:
                        file.sync()
                        file.close()
                except OSError as error:
                    _log.error("the spool %s was not closed well: %s", file.path, error.strerror)

    def disown(self) -> None:
        """In a forked child: the files are the parent's, and its locks are not to outlive it here."""
        self._closed = True
        for file in (self._own, self._resending.file if self._resending else None):
            if file is not None:
                file.close()

    # --- sending again -------------------------------------------------------------------------------

    def _resend(self, produce: Produce, now: float) -> None:
        resending = self._resending
        if resending is None:
            resending = self._resending = self._next_file(now)
            if resending is None:
                return
        if now < self._resume_at or resending.outstanding:
            return
        if resending.failed:
            resending.failed = False
            self._pause = min(max(self._pause * 2, _FIRST_PAUSE_S), _LAST_PAUSE_S)
            self._resume_at = now + self._pause
            return
        if not resending.unsent and not resending.next_chunk(_CHUNK):
            self._done(resending)
            return
        if not resending.send(produce, carefully=bool(self._pause)) and not resending.outstanding:
            self._resume_at = now + _FIRST_PAUSE_S  # the queue is full

    def _next_file(self, now: float) -> _Resending | None:
        if self._own is not None and self._own.size > self._own.start:
            return _Resending(self._own, self._topic, self._lock, self._confirmed_own, self._refused_own)
        if now < self._look_at:
            return None
        self._look_at = now + _LOOK_EVERY_S
        for path in sorted(self._folder.glob("*.spool")):
            if self._own is not None and path == self._own.path:
                continue
            try:
                file = SpoolFile.take_over(path, self._topic)
            except NotASpoolError as error:
                _log.debug("a spool was left alone: %s", error)
                continue
            if file.torn_bytes:
                _log.warning("%d bytes at the end of the spool %s were torn", file.torn_bytes, path)
            if file.size == file.start:
                file.remove()
                continue
            _log.info("steps that another process left in %s are sent again", path)
            return _Resending(file, self._topic, self._lock, self._confirmed_other, self._refused_other)
        return None

    def _done(self, resending: _Resending) -> None:
        """All that was read of the file is confirmed."""
        if resending.file is not self._own:
            self._resending = None
            resending.file.remove()
            self._look_at = 0.0
            return
        with self._lock:  # so that nothing is added in between
            if resending.at_end:
                self._resending = None
                resending.file.empty()

    def _confirmed_own(self, message: Message) -> None:
        self._pause = 0.0
        self._counters.unspool(message.partition() or 0, message.offset() or 0)

    def _refused_own(self) -> None:
        # When it was sent before it came here, it may have been stored.
        self._counters.unspool_failed(FailReason.REFUSED_LATE)

    def _confirmed_other(self, _message: Message) -> None:
        self._pause = 0.0

    def _refused_other(self) -> None:
        _log.error("a step that another process had left in the spool was refused by the broker")

    def _tell_full(self, why: str) -> None:
        if not self._told_full:
            self._told_full = True
            _log.error("the spool in %s takes no more steps: %s", self._folder, why)


class _Resending:
    """A file whose messages are being sent again, a chunk at a time: the next follows when each has its answer."""

    def __init__(
        self,
        file: SpoolFile,
        topic: str,
        lock: AbstractContextManager[Any],
        confirmed: Callable[[Message], None],
        refused: Callable[[], None],
    ) -> None:
        self.file = file
        self.outstanding = 0
        self.failed = False
        self.unsent: list[Spooled] = []
        self._topic = topic
        self._lock = lock
        self._confirmed = confirmed
        self._refused = refused
        self._read_to = file.start

    @property
    def at_end(self) -> bool:
        """Whether all that the file holds was read."""
        return self._read_to >= self.file.size

    def next_chunk(self, most: int) -> bool:
        """Read the next messages; False at the end."""
        self.unsent = list(islice(self.file.read(self._read_to), most))
        if self.unsent:
            self._read_to = self.unsent[-1].end
        return bool(self.unsent)

    def send(self, produce: Produce, *, carefully: bool) -> bool:
        """Send what is unsent of the chunk, or after a failure one message, to see; False when there was no room."""
        most = 1 if carefully else len(self.unsent)
        chunk, self.unsent = self.unsent[:most], self.unsent[most:]
        for number, message in enumerate(chunk):
            self.outstanding += 1
            try:
                produce(
                    self._topic,
                    message.value,
                    message.key,
                    -1,
                    self._on_report(message),
                    headers=[(RESENT, b"1")],
                )
            except Exception:  # no room, or no producer any more
                self.outstanding -= 1
                self.unsent += chunk[number:]
                return False
        return True

    def _on_report(self, message: Spooled) -> Callable[[KafkaError | None, Message], None]:
        def report(error: KafkaError | None, answer: Message) -> None:
            with self._lock:
                self.outstanding -= 1
                if error is None:
                    self._confirmed(answer)
                elif refused(error.code()):
                    self._refused()
                else:
                    self.failed = True
                    self.unsent.append(message)

        return report
