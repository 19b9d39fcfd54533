"""What an emitter accepts is copied into a file before it is sent, so that it outlives the process.

A journal belongs to one emitter in one process. It consists of segments (`journal_file`): messages are appended to the
current one, and each is marked in its place once the broker has confirmed it. A segment in which all are marked is used
anew or removed. What a process leaves is sent by another one with the same folder (`left_behind`).

Facts that this file is shaped by:

- A signal handler may emit while the code that it interrupted appends, so no lock could protect a segment. Instead who
  appends takes the segment off a stack for as long, in one atomic step; who comes meanwhile takes another one.
- Writing to a map allocates nothing, so it cannot fail; making a segment can, and then events go on without.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import stat
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from sys import getrefcount
from typing import Any, Final

from confluent_kafka import KafkaException, Message

from steptrail.producers.accounting import Counters, FailReason
from steptrail.producers.journal_file import OVERHEAD, RECORD, START, SUFFIX, Segment
from steptrail.producers.refusals import RefusedError
from steptrail.producers.spool_file import Spooled

_log = logging.getLogger("steptrail.emitter")

SEGMENT_BYTES: Final = 1024 * 1024
_SPARE = 2  # segments that are kept to be used anew
_RETRY_S = 30.0
_UNSHARED = 2  # references to an object that only one variable holds, as getrefcount counts them
_pack, _checksum = RECORD.pack, zlib.adler32  # half a CRC's time


_NOT_SENT = (BufferError, KafkaException, RefusedError)


class Journal:
    """The journal of one emitter in one process, and the source of what is sent again from it. Nothing here raises."""

    def __init__(self, folder: Path, topic: str, counters: Counters, *, max_bytes: int) -> None:
        self.folder = folder.absolute()
        self._lock = threading.RLock()
        self._topic = topic
        self._counters = counters
        self._max_bytes = max_bytes
        self._name = secrets.token_hex(6)
        self._numbers = count()
        self._open: set[Segment] = set()  # all that are held
        self._current: deque[Segment] = deque()  # a stack of those that can be appended to
        self._sealed: set[Segment] = set()
        self._spare: deque[Segment] = deque()
        self._waiting: deque[tuple[Segment, int]] = deque()
        self._places: dict[Spooled, tuple[Segment, int]] = {}
        self._kept = 0  # waiting, or being sent again
        self._closed = False
        self._retry_at = 0.0
        self._told: str | None = None

    def producing(
        self,
        send: Callable[..., None],
        reported: Callable[..., None],
        not_sent: Callable[[Exception, Segment, int], None],
    ) -> Callable[..., None]:
        """A `produce` that keeps the message, then calls `send`. The report goes to `reported`, with segment and place.

        When `send` raises an error of its own, `not_sent` is called with it, segment and place. What others raise into
        it goes through, and the message is kept no longer. What cannot be kept is sent as without a journal.
        """
        current, unjournalled = self._current, self._counters.unjournalled.add
        take, give_back = current.pop, current.append

        def produce(
            topic: str, value: bytes, key: bytes, partition: int, on_report: Callable[..., None]
        ) -> None:
            # One long function: a call more is felt by every event.
            segment: Segment | None = None
            at = 0
            try:
                key_length = len(key)
                both = key + value
                length = len(both)
                try:
                    segment = take() if current else self._another(OVERHEAD + length)
                    if segment is not None:
                        begin = segment.used
                        end = begin + OVERHEAD + length
                        if end > segment.size:
                            full, segment = segment, None
                            segment = self._after(full, OVERHEAD + length)
                            if segment is not None:
                                begin, end = START, START + OVERHEAD + length
                        if segment is not None:
                            segment.used = end
                            segment.records += 1
                            at = begin
                            segment.map[at:end] = (
                                _pack(segment.marker, _checksum(both, key_length), length, key_length) + both
                            )
                finally:
                    if segment is not None:
                        give_back(segment)
                if segment is None:
                    unjournalled()
                else:
                    on_report = partial(reported, segment, at)
                send(topic, value, key, partition, on_report)
            except _NOT_SENT as error:
                if segment is None:
                    raise
                not_sent(error, segment, at)
            except BaseException:
                # A signal handler's. Where the client has the message, it holds on to its callback.
                if segment is not None and at and getrefcount(on_report) <= _UNSHARED:
                    self._cancel(segment, at)
                raise

        return produce

    def done(self, segment: Segment, at: int) -> None:
        """The message at this place needs no sending any more."""
        if not segment.map.closed and segment.done(at):  # it is in a child that was forked inside of the call
            self.free(segment)

    def free(self, segment: Segment) -> None:
        """A full segment holds nothing any more that needs sending: it is used anew, or removed."""
        try:
            self._sealed.remove(segment)
        except KeyError:
            return  # another thread did
        if segment.size == SEGMENT_BYTES and len(self._spare) < _SPARE:
            self._spare.append(segment)
        else:
            self._remove(segment)

    def _cancel(self, segment: Segment, at: int) -> None:
        """The message at this place was not accepted, unless its report came already."""
        if not segment.map.closed and segment.record(at) is not None and not segment.is_done(at):
            self.done(segment, at)

    def keep(self, segment: Segment, at: int) -> None:
        """The message at this place was not sent, and waits to be sent again."""
        with self._lock:
            self._kept += 1
        self._waiting.append((segment, at))

    @property
    def holds_any(self) -> bool:
        """Whether there is anything to send again."""
        return bool(self._waiting)

    def unreported(self) -> int:
        """How many messages were kept and sent, and no report of them came so far."""
        with self._lock:
            return sum(segment.unacknowledged for segment in list(self._open)) - self._kept

    def tick(self) -> None:
        """Called often, by the poll thread: has a segment ready before it is needed."""
        with self._lock:
            if self._closed or self._spare:
                return
            try:
                needed = self._current[-1].used > SEGMENT_BYTES // 2
            except IndexError:  # nothing was emitted so far, or somebody appends right now
                return
            if needed and (made := self._make(SEGMENT_BYTES)) is not None:
                self._spare.append(made)

    def close(self) -> None:
        """Leave what is not confirmed to the next process; nothing is taken in any more."""
        self._closed = True
        at_rest: set[Segment] = set(self._spare)  # nobody appends to them, or will
        with contextlib.suppress(IndexError):
            while True:
                at_rest.add(self._current.pop())
        for segment in list(self._open):
            if segment.unacknowledged:
                cut = segment in at_rest or segment in self._sealed
                self._quietly(segment, partial(Segment.close, cut=cut))
            else:
                self._remove(segment)

    def disown(self) -> None:
        """In a forked child: the files are the parent's, and its locks are not to outlive it here."""
        self._closed = True
        self._current.clear()
        for segment in list(self._open):
            self._quietly(segment, Segment.disown)

    # --- the source of what is sent again ------------------------------------------------------------

    def next(self, most: int) -> list[Spooled]:
        """See Source."""
        found: list[Spooled] = []
        while self._waiting and len(found) < most:
            segment, at = self._waiting.popleft()
            record = segment.record(at)
            if record is None:  # somebody else wrote to the file
                self._settle(segment, at)
                self._counters.unspool_failed(FailReason.INFRASTRUCTURE)
                continue
            self._places[record] = segment, at
            found.append(record)
        return found

    def confirmed(self, record: Spooled, answer: Message) -> None:
        """See Source."""
        self._settle(*self._places.pop(record))
        self._counters.unspool(answer.partition() or 0, answer.offset() or 0)

    def refused(self, record: Spooled) -> None:
        """See Source."""
        self._settle(*self._places.pop(record))
        self._counters.unspool_failed(FailReason.REFUSED_LATE)

    def finish(self) -> bool:
        """See Source."""
        return not self._waiting

    def _settle(self, segment: Segment, at: int) -> None:
        with self._lock:
            self._kept -= 1
        self.done(segment, at)

    # --- segments ------------------------------------------------------------------------------------

    def _another(self, wanted: int) -> Segment | None:
        """A segment that nobody appends to, with room for `wanted` bytes; None when there can be none."""
        if self._closed:
            return None
        size = max(SEGMENT_BYTES, START + wanted)
        if size == SEGMENT_BYTES:
            with contextlib.suppress(IndexError):
                spare = self._spare.popleft()
                spare.use_anew()
                return spare
        return self._make(size)

    def _after(self, full: Segment, wanted: int) -> Segment | None:
        """The segment that follows on a full one; None when there can be none, and smaller ones still go into that."""
        following = self._another(wanted)
        if following is None:
            self._current.append(full)
            return None
        self._sealed.add(full)
        full.sealed_at = full.records
        if not full.unacknowledged:  # or the last report came before it was sealed
            self.free(full)
        return following

    def _make(self, size: int) -> Segment | None:
        now = time.monotonic()
        if now < self._retry_at:
            return None
        try:
            _prepare(self.folder)
            used = sum(path.stat().st_size for path in self.folder.glob(f"*{SUFFIX}"))
            if used + size > self._max_bytes:
                raise _NoRoomError(f"it holds its {self._max_bytes:,} bytes (STEPTRAIL_JOURNAL_MAX_BYTES)")
            path = self.folder / f"{os.getpid()}-{self._name}-{next(self._numbers)}{SUFFIX}"
            made = Segment.create(path, self._topic, size)
            self._open.add(made)
        except (OSError, ValueError, _NoRoomError) as error:
            self._retry_at = now + _RETRY_S
            self._tell(getattr(error, "strerror", None) or str(error) or type(error).__name__)
            return None
        if self._told is not None:
            self._told = None
            _log.warning("the journal in %s takes steps again", self.folder)
        return made

    def _remove(self, segment: Segment) -> None:
        self._open.discard(segment)
        self._quietly(segment, Segment.remove)

    def _quietly(self, segment: Segment, act: Callable[[Segment], Any]) -> None:
        try:
            act(segment)
        except OSError as error:
            _log.error("the journal %s was not closed well: %s", segment.path, error.strerror)

    def _tell(self, why: str) -> None:
        if why != self._told:
            self._told = why
            _log.error("the journal in %s takes no more steps, which go on without it: %s", self.folder, why)


class _NoRoomError(Exception):
    pass


def _prepare(folder: Path) -> None:
    """Make the folder where it is missing. Raises OSError when it is not this user's own."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise PermissionError(1, "the folder is a symbolic link")
    if found.st_uid != os.geteuid():
        raise PermissionError(1, "the folder belongs to another user")
    if found.st_mode & 0o022:
        raise PermissionError(1, "others can write to the folder; chmod 700 it")
