"""Copies accepted events into a file before they are sent, so that they outlive the process.

A journal belongs to one emitter in one process. It consists of segments (`journal_file`): messages are appended to the
current one, and each is marked in place once the broker has acknowledged it. A segment whose messages are all marked
is reused or removed. What a process leaves is sent by another one with the same folder (`orphans`).

Constraints on this design:

- A signal handler may emit while the interrupted code reserves a place, so no lock could protect a segment. Instead the
  writer pops the segment off a stack in one atomic step; another writer meanwhile takes another segment.
- A signal handler may also raise (steptrail.schemas.foreign). Then `keep` is called again for the message: its progress
  is in a list of the caller's, and writing a record twice at the same place changes nothing.
- Writing to a map allocates nothing, so it cannot fail; creating a segment can, and then events are sent without one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, starmap
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Message

from steptrail.producers.accounting import Counters, FailReason
from steptrail.producers.fork_safe_logging import fork_safe_log
from steptrail.producers.persistence.journal_file import OVERHEAD, RECORD, START, SUFFIX, Segment
from steptrail.producers.persistence.spool_file import Spooled
from steptrail.schemas.foreign import let_through

_log = fork_safe_log("steptrail.emitter")

SEGMENT_BYTES: Final = 1024 * 1024
_SPARE = 2  # segments kept for reuse
_RETRY_S = 30.0
PLACED: Final = 2
"""Elements of a message's list when it has its place."""
_ONCE: Final[tuple[tuple[()], ...]] = ((),)  # for starmap: one call without arguments
_pack, _checksum = RECORD.pack, zlib.adler32  # half a CRC's time


class Journal:
    """The journal of one emitter in one process, and a Source for resending. Nothing here raises."""

    def __init__(self, folder: Path, topic: str, counters: Counters, *, max_bytes: int) -> None:
        self.folder = folder.absolute()
        self._lock = threading.RLock()
        self._topic = topic
        self._counters = counters
        self._max_bytes = max_bytes
        self._name = secrets.token_hex(6)
        self._numbers = count()
        self._open: set[Segment] = set()  # all segments held
        self._current: deque[Segment] = deque()  # a stack of the appendable ones
        self._sealed: set[Segment] = set()
        self._spare: deque[Segment] = deque()
        self.forgotten: deque[list[Any]] = deque()
        """Takes what `keep` made of its list: that message needs no sending any more, or is none."""
        self._waiting: deque[Sequence[Any]] = deque()
        self.wait = self._waiting.append
        """Takes the same: that message was not sent, and waits to be sent again. Written in C."""
        self._places: dict[Spooled, tuple[Segment, int]] = {}
        self._closed = False
        self._retry_at = 0.0
        self._told: str | None = None

    def keeping(self) -> Callable[[bytes, bytes, list[Any]], None]:
        """A function that keeps a message (key, value).

        Its third argument, `kept`, is empty at first. It becomes segment and place as soon as the message owns them, or
        one number when the message cannot be kept. If anything is raised in between, calling again with the same list
        continues where it stopped, and no message is in the journal twice.
        """
        current, unjournalled = self._current, self._counters.unjournalled.__next__
        give_back = current.append
        # Endless, since no segment equals None: each step pops a segment off the stack.
        taking: Iterator[Segment] = iter(current.pop, None)

        def keep(key: bytes, value: bytes, kept: list[Any]) -> None:
            # One long function: every event pays for each call. Foreign exceptions are raised only right after
            # calls, at the backward jumps of loops and at the start of functions: code between two calls runs as a
            # whole.
            key_length = len(key)
            both = key + value
            length = len(both)
            try:
                if not kept and current:
                    for segment in taking:
                        at = segment.used
                        end = at + OVERHEAD + length
                        if end <= segment.size:
                            segment.used = end
                            segment.records += 1
                            kept += segment, at
                        give_back(segment)
                        break
                if not kept:
                    self._place(OVERHEAD + length, kept)
                    if not kept:
                        kept.extend(starmap(unjournalled, _ONCE))
                if len(kept) == PLACED:
                    segment, at = kept
                    segment.map[at : at + OVERHEAD + length] = (
                        _pack(segment.marker, _checksum(both, key_length), length, key_length) + both
                    )
            except Exception as error:  # the map is closed in a child forked in here
                let_through(error)
                failed, kept[:] = list(kept), ()
                self.forgotten.append(failed)
                kept.extend(starmap(unjournalled, _ONCE))

        return keep

    def done(self, segment: Segment, at: int) -> None:
        """Mark the message at this place as settled. Idempotent."""
        if not segment.map.closed and segment.done(at):  # closed in a child forked inside the call
            self.free(segment)

    def free(self, segment: Segment) -> None:
        """Reuse or remove a full segment whose messages are all settled."""
        try:
            self._sealed.remove(segment)
        except KeyError:
            return  # another thread did
        if segment.size == SEGMENT_BYTES and len(self._spare) < _SPARE:
            self._spare.append(segment)
        else:
            self._remove(segment)

    @property
    def holds_any(self) -> bool:
        """Whether there is anything to resend."""
        return bool(self._waiting)

    def unreported(self) -> int:
        """How many kept messages were sent and have no delivery report yet."""
        with self._lock:
            self._tidy()
            unacknowledged = sum(segment.unacknowledged for segment in list(self._open))
            return unacknowledged - len(self._waiting) - len(self._places)

    def tick(self) -> None:
        """Called often by the poll thread: prepares a segment before it is needed."""
        with self._lock:
            self._tidy()
            if self._closed or self._spare:
                return
            try:
                needed = self._current[-1].used > SEGMENT_BYTES // 2
            except IndexError:  # nothing emitted yet, or another writer holds it
                return
            if needed:
                made: list[Segment] = []
                self._make(SEGMENT_BYTES, made)
                self._spare.extend(made)

    def _tidy(self) -> None:
        """Finish what an exception interrupted."""
        while self.forgotten:
            kept = self.forgotten.popleft()
            if len(kept) == PLACED:
                self.done(*kept)
        for segment in list(self._sealed):
            if segment.sealed_at == segment.records and not segment.unacknowledged:
                self.free(segment)

    def close(self) -> None:
        """Leave unacknowledged messages to the next process; nothing more is accepted."""
        self._closed = True
        at_rest: set[Segment] = set(self._spare)  # nothing appends to these any more
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
        """In a forked child: release the parent's files, so that its locks do not outlive it here."""
        self._closed = True
        self._current.clear()
        for segment in list(self._open):
            self._quietly(segment, Segment.disown)

    # --- the source for resending --------------------------------------------------------------------

    def next(self, most: int) -> list[Spooled]:
        """See Source."""
        found: list[Spooled] = []
        while self._waiting and len(found) < most:
            with self._lock:
                segment, at = self._waiting.popleft()
                record = segment.record(at)
                if record is not None:
                    self._places[record] = segment, at
                    found.append(record)
                    continue
                self.done(segment, at)  # another program wrote to the file
            self._counters.unspool_failed(FailReason.INFRASTRUCTURE)
        return found

    def confirmed(self, record: Spooled, answer: Message) -> None:
        """See Source."""
        self._settle(record)
        self._counters.unspool(answer.partition() or 0, answer.offset() or 0)

    def refused(self, record: Spooled) -> None:
        """See Source."""
        self._settle(record)
        self._counters.unspool_failed(FailReason.REFUSED_LATE)

    def finish(self) -> bool:
        """See Source."""
        return not self._waiting

    def _settle(self, record: Spooled) -> None:
        with self._lock:
            self.done(*self._places.pop(record))

    # --- segments ------------------------------------------------------------------------------------

    def _place(self, wanted: int, kept: list[Any]) -> None:
        """Find room for `wanted` bytes when the current segment has none: sets `kept` to segment and place, if any."""
        held: list[Segment] = []
        taking = starmap(self._current.pop, _ONCE)
        try:
            if self._current:
                held.extend(taking)
            else:
                self._another(wanted, held)
            if held and held[0].used + wanted > held[0].size:
                self._follow(wanted, held)
            if held and held[0].used + wanted <= held[0].size:
                segment = held[0]
                at = segment.used
                segment.used = at + wanted
                segment.records += 1
                kept += segment, at
        finally:
            self._current.extend(held)

    def _another(self, wanted: int, held: list[Segment]) -> None:
        """Add a fresh segment with room for `wanted` bytes, if one can be created."""
        if self._closed:
            return
        size = max(SEGMENT_BYTES, START + wanted)
        if size == SEGMENT_BYTES:
            spare = starmap(self._spare.popleft, _ONCE)
            if self._spare:
                held.extend(spare)
                held[-1].use_anew()
                return
        self._make(size, held)

    def _follow(self, wanted: int, held: list[Segment]) -> None:
        """Replace a full segment by the next one; if none can be created, smaller messages still use the old one."""
        self._another(wanted, held)
        if len(held) < 2:
            return
        full = held[0]
        self._sealed.add(full)
        full.sealed_at = full.records
        del held[0]
        if not full.unacknowledged:  # the last report came before it was sealed
            self.free(full)

    def _make(self, size: int, held: list[Segment]) -> None:
        now = time.monotonic()
        if now < self._retry_at:
            return
        try:
            _prepare(self.folder)
            if _size_of(self.folder) + size > self._max_bytes:
                raise _NoRoomError(f"it holds its {self._max_bytes:,} bytes (STEPTRAIL_JOURNAL_MAX_BYTES)")
            path = self.folder / f"{os.getpid()}-{self._name}-{next(self._numbers)}{SUFFIX}"
            made = Segment.create(path, self._topic, size)
            held += (made,)
            self._open.add(made)
        except (OSError, ValueError, _NoRoomError) as error:
            let_through(error)  # a foreign time limit may be a TimeoutError
            self._retry_at = now + _RETRY_S
            self._tell(getattr(error, "strerror", None) or str(error) or type(error).__name__)
            return
        if self._told is not None:
            self._told = None
            _log.warning("the journal in %s accepts steps again", self.folder)

    def _remove(self, segment: Segment) -> None:
        self._quietly(segment, Segment.remove)
        self._open.discard(segment)

    def _quietly(self, segment: Segment, act: Callable[[Segment], Any]) -> None:
        try:
            act(segment)
        except OSError as error:
            let_through(error)
            _log.error("closing the journal %s failed: %s", segment.path, error.strerror)

    def _tell(self, why: str) -> None:
        if why != self._told:
            self._told = why
            _log.error("the journal in %s takes no more steps, which go on without it: %s", self.folder, why)


class _NoRoomError(Exception):
    pass


def _size_of(folder: Path) -> int:
    """Total bytes of all journals in the folder; other processes may remove theirs meanwhile."""
    size = 0
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


def _prepare(folder: Path) -> None:
    """Create the folder if it is missing. Raises OSError when this user does not own it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise PermissionError(1, "the folder is a symbolic link")
    if found.st_uid != os.geteuid():
        raise PermissionError(1, "the folder belongs to another user")
    if found.st_mode & 0o022:
        raise PermissionError(1, "others can write to the folder; chmod 700 it")
