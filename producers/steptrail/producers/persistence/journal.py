"""What an emitter accepts is copied into a file before it is sent, so that it outlives the process.

A journal belongs to one emitter in one process. It consists of segments (`journal_file`): messages are appended to the
current one, and each is marked in its place once the broker has confirmed it. A segment in which all are marked is used
anew or removed. What a process leaves is sent by another one with the same folder (`left_behind`).

Facts that this file is shaped by:

- A signal handler may emit while the code that it interrupted draws a place, so no lock could protect a segment.
  Instead who does takes the segment off a stack for as long, in one atomic step; who comes meanwhile takes another one.
- A signal handler may also raise (steptrail.schemas.foreign). Then `keep` is called again for the message: what it has
  got so far is in a list of the caller's, and to write a record once more at its place changes nothing.
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
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, starmap
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Message

from steptrail.producers.accounting import Counters, FailReason
from steptrail.producers.persistence.journal_file import OVERHEAD, RECORD, START, SUFFIX, Segment
from steptrail.producers.persistence.spool_file import Spooled
from steptrail.schemas.foreign import let_through

_log = logging.getLogger("steptrail.emitter")

SEGMENT_BYTES: Final = 1024 * 1024
_SPARE = 2  # segments that are kept to be used anew
_RETRY_S = 30.0
PLACED: Final = 2
"""Elements of a message's list when it has its place."""
_ONCE: Final[tuple[tuple[()], ...]] = ((),)  # for starmap: one call without arguments
_pack, _checksum = RECORD.pack, zlib.adler32  # half a CRC's time


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

        Its third argument, `kept`, is empty at first. It becomes segment and place as soon as these are the message's
        own, or one number when the message cannot be kept. Whatever is raised in between, the same call with that list
        again goes on where it was, and no message is in the journal twice.
        """
        current, unjournalled = self._current, self._counters.unjournalled.__next__
        give_back = current.append
        # Never ends, since no segment equals None: each step takes a segment off the stack.
        taking: Iterator[Segment] = iter(current.pop, None)

        def keep(key: bytes, value: bytes, kept: list[Any]) -> None:
            # One long function: a call more is felt by every event. Nothing is raised by others except right after
            # calls, where loops go back and where a function begins: what lies between two calls is done as a whole.
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
            except Exception as error:  # the map is closed in a child that was forked in here
                let_through(error)
                failed, kept[:] = list(kept), ()
                self.forgotten.append(failed)
                kept.extend(starmap(unjournalled, _ONCE))

        return keep

    def done(self, segment: Segment, at: int) -> None:
        """The message at this place needs no sending any more. May be said more than once."""
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

    @property
    def holds_any(self) -> bool:
        """Whether there is anything to send again."""
        return bool(self._waiting)

    def unreported(self) -> int:
        """How many messages were kept and sent, and no report of them came so far."""
        with self._lock:
            self._tidy()
            unacknowledged = sum(segment.unacknowledged for segment in list(self._open))
            return unacknowledged - len(self._waiting) - len(self._places)

    def tick(self) -> None:
        """Called often, by the poll thread: has a segment ready before it is needed."""
        with self._lock:
            self._tidy()
            if self._closed or self._spare:
                return
            try:
                needed = self._current[-1].used > SEGMENT_BYTES // 2
            except IndexError:  # nothing was emitted so far, or somebody appends right now
                return
            if needed:
                made: list[Segment] = []
                self._make(SEGMENT_BYTES, made)
                self._spare.extend(made)

    def _tidy(self) -> None:
        """What an exception came in between of."""
        while self.forgotten:
            kept = self.forgotten.popleft()
            if len(kept) == PLACED:
                self.done(*kept)
        for segment in list(self._sealed):
            if segment.sealed_at == segment.records and not segment.unacknowledged:
                self.free(segment)

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
            with self._lock:
                segment, at = self._waiting.popleft()
                record = segment.record(at)
                if record is not None:
                    self._places[record] = segment, at
                    found.append(record)
                    continue
                self.done(segment, at)  # somebody else wrote to the file
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
        """Find room for `wanted` bytes where the current segment has none: `kept` becomes segment and place, if any."""
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
        """Add a segment that nobody appends to, with room for `wanted` bytes, if there can be one."""
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
        """Put the segment that follows on a full one in its place; if there can be none, smaller ones still go in."""
        self._another(wanted, held)
        if len(held) < 2:
            return
        full = held[0]
        self._sealed.add(full)
        full.sealed_at = full.records
        del held[0]
        if not full.unacknowledged:  # or the last report came before it was sealed
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
            let_through(error)  # a time limit may be a TimeoutError
            self._retry_at = now + _RETRY_S
            self._tell(getattr(error, "strerror", None) or str(error) or type(error).__name__)
            return
        if self._told is not None:
            self._told = None
            _log.warning("the journal in %s takes steps again", self.folder)

    def _remove(self, segment: Segment) -> None:
        self._quietly(segment, Segment.remove)
        self._open.discard(segment)

    def _quietly(self, segment: Segment, act: Callable[[Segment], Any]) -> None:
        try:
            act(segment)
        except OSError as error:
            let_through(error)
            _log.error("the journal %s was not closed well: %s", segment.path, error.strerror)

    def _tell(self, why: str) -> None:
        if why != self._told:
            self._told = why
            _log.error("the journal in %s takes no more steps, which go on without it: %s", self.folder, why)


class _NoRoomError(Exception):
    pass


def _size_of(folder: Path) -> int:
    """The bytes of all journals in the folder; other processes remove theirs meanwhile."""
    size = 0
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            size += path.stat().st_size
    return size


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
