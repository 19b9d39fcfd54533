"""One segment of a journal: a file of fixed size, mapped into memory, locked by the process that writes it.

    header, twice, at 0 and at 512:
        magic 8 | marker 8 | length of topic u16 | topic | crc32 u32
    from 1024 on, one after the other:
        marker 8 | state u32 | adler32 u32 | length of key and value u32 | length of key u32 | key | value

The marker is drawn at random for each use of a segment, and begins each of its records: so records behind a damaged one
are found again, what an earlier use left is never taken for a record, and nothing in a message can pass for one. The
checksum is over key and value, and begins with the length of the key; it takes half of a CRC's time. The state is zero,
and DONE once the message needs no sending any more.

What was copied into the map is in the operating system's hands: a process that is killed loses nothing of it. It is
never synced, so a loss of power may lose it. All blocks are allocated beforehand, since writing to a map when the disk
is full would kill the process (SIGBUS).
"""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
import zlib
from collections.abc import Iterator
from itertools import count, starmap
from pathlib import Path
from struct import Struct
from typing import Final

from steptrail.producers.accounting import position
from steptrail.producers.persistence.spool_file import NotASpoolError, Spooled

MAGIC: Final = b"STPJNL1\n"
SUFFIX: Final = ".journal"
DONE: Final = b"done"
START: Final = 1024
"""Where the first record begins."""
_COPY: Final = START // 2
_HEAD = Struct("<8s8sH")
_CRC = Struct("<I")
RECORD: Final = Struct("<8s4xIII")
OVERHEAD: Final = RECORD.size
"""Bytes of a record beside its key and value."""
STATE: Final = 8
"""Where in a record the state is."""


class Segment:
    """An open, mapped and locked segment. Raises OSError where the operating system does.

    Written by whoever holds it in a lane of a Journal; `done` is for any thread.
    """

    __slots__ = (
        "_acknowledge",
        "_acknowledged",
        "_fd",
        "_topic",
        "map",
        "marker",
        "path",
        "records",
        "sealed_at",
        "size",
        "used",
    )

    def __init__(self, path: Path, fd: int, topic: str, size: int, marker: bytes) -> None:
        self.path = path
        self.size = size
        self.marker = marker
        self.used = START
        """Where the next record goes."""
        self.records = 0
        """How many were written since the segment was made, or used anew."""
        self.sealed_at = -1
        """With how many records it was full; -1 as long as it is not."""
        # A step of an iterator is atomic, for threads and signal handlers.
        self._acknowledged = count(1)
        self._acknowledge = self._acknowledged.__next__
        self._fd = -1  # until it is given over
        self._topic = topic
        self.map = mmap.mmap(fd, size)

    @classmethod
    def create(cls, path: Path, topic: str, size: int) -> Segment:
        """A new file of `size` bytes, for messages of `topic`; readable by its owner only."""
        making = path.with_suffix(".new")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        opened: list[int] = []
        try:
            opened.extend(
                starmap(os.open, ((making, flags, 0o600),))
            )  # one step: see steptrail.schemas.foreign
            [fd] = opened
            # It gets its name when it is locked: who looks for files left behind could be faster than the lock.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(fd, 0, size)
            made = cls(path, fd, topic, size, b"")
            made._fd = fd
        except BaseException:  # a signal handler's, too
            if opened:
                os.close(opened[0])
                making.unlink(missing_ok=True)
            raise
        try:
            made.use_anew()
            making.rename(path)
        except BaseException:
            made.close()
            making.unlink(missing_ok=True)
            raise
        return made

    @classmethod
    def take_over(cls, path: Path, topic: str) -> Segment:
        """A segment whose process is gone. Raises NotASpoolError for any other file."""
        fd = -1
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                raise NotASpoolError(f"{path} is no file of this user")
            if found.st_ino != path.stat(follow_symlinks=False).st_ino:  # removed between the calls above
                raise NotASpoolError(str(path))
            marker = _marker(os.pread(fd, START, 0), topic)
            if marker is None:
                raise NotASpoolError(f"{path} is no journal for {topic}")
            left = cls(path, fd, topic, found.st_size, marker)
            left._fd = fd
            return left
        except BlockingIOError:
            os.close(fd)
            raise NotASpoolError(f"{path} is another process's") from None
        except (OSError, ValueError, NotASpoolError) as error:
            if fd >= 0:
                os.close(fd)
            raise NotASpoolError(str(error)) from None

    def use_anew(self) -> None:
        """Forget all records, and begin with a new marker. When others raise into it, nothing was done, or all."""
        marker = os.urandom(8)
        name = self._topic.encode()
        head = _HEAD.pack(MAGIC, marker, len(name)) + name
        head += _CRC.pack(zlib.crc32(head))
        length = len(head)
        acknowledged = count(1)
        acknowledge = acknowledged.__next__
        # No call from here on, and no loop: nobody can come in between.
        self.map[:length] = head
        self.map[_COPY : _COPY + length] = head
        self.marker = marker
        self.used = START
        self.records = 0
        self.sealed_at = -1
        self._acknowledged = acknowledged
        self._acknowledge = acknowledge

    @property
    def unacknowledged(self) -> int:
        """How many of the records that were written here are not done."""
        return self.records + 1 - position(self._acknowledged)

    def done(self, at: int) -> bool:
        """The message of the record at `at` needs no sending any more; whether it was the last of a full segment.

        May be said again. Mark and number change as one: what others raise comes before, or after the last call.
        """
        data, state = self.map, at + STATE
        if data[state]:  # nothing else is ever written there
            return False
        data[state : state + 4] = DONE
        return self._acknowledge() == self.sealed_at

    def is_done(self, at: int) -> bool:
        """Whether the message of the record at `at` needs no sending any more."""
        return self.map[at + STATE : at + STATE + 4] == DONE

    def record(self, at: int) -> Spooled | None:
        """The record at `at`, with where it ends; None when none is there that is whole."""
        data = self.map
        if at + OVERHEAD > self.size:
            return None
        marker, checksum, length, key_length = RECORD.unpack_from(data, at)
        end = at + OVERHEAD + length
        if marker != self.marker or key_length > length or end > self.size:
            return None
        both = data[at + OVERHEAD : end]
        if zlib.adler32(both, key_length) != checksum:
            return None
        return Spooled(both[:key_length], both[key_length:], end)

    def read(self) -> Iterator[Spooled]:
        """The whole records whose messages are still to be sent, in order."""
        at = self.map.find(self.marker, START)
        while at >= 0:
            record = self.record(at)
            if record is None:
                at = self.map.find(self.marker, at + 1)
                continue
            if not self.is_done(at):
                yield record
            at = self.map.find(self.marker, record.end)

    def mark(self, record: Spooled) -> None:
        """The message of this record needs no sending any more."""
        self.done(record.end - len(record.key) - len(record.value) - OVERHEAD)

    def remove(self) -> None:
        """Remove the file, still locked, and close it."""
        try:
            self.path.unlink(missing_ok=True)
        finally:
            self.close()

    def close(self, *, cut: bool = False) -> None:
        """Let go of the file, and with `cut` of what it does not need. A late `done` does no harm."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if cut:
                os.ftruncate(fd, self.used)
            fcntl.flock(
                fd, fcntl.LOCK_UN
            )  # for the map's own descriptor, too, which goes with the last reference
        finally:
            os.close(fd)

    def __del__(self) -> None:
        # A signal handler raised where it was made. Who still has the map still has the lock.
        if (fd := getattr(self, "_fd", -1)) >= 0:
            os.close(fd)

    def disown(self) -> None:
        """In a forked child: let go of it without letting go of the parent's lock."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self.map.close()  # it holds a duplicate of the descriptor, by which the lock would outlive the parent


def _marker(start: bytes, topic: str) -> bytes | None:
    """The marker by whichever copy of the header is whole and names this topic."""
    for copy in (start[:_COPY], start[_COPY:]):
        if len(copy) < _HEAD.size:
            continue
        magic, marker, length = _HEAD.unpack_from(copy)
        end = _HEAD.size + length
        if magic != MAGIC or len(copy) < end + _CRC.size:
            continue
        if (
            _CRC.unpack_from(copy, end)[0] == zlib.crc32(copy[:end])
            and copy[_HEAD.size : end] == topic.encode()
        ):
            return bytes(marker)
    return None
