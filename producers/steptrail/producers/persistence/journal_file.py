"""One segment of a journal: a file of fixed size, mapped into memory, locked by the process that writes it.

    header, twice, at 0 and at 512:
        magic 8 | marker 8 | length of topic u16 | topic | crc32 u32
    from 1024 on, one after the other:
        marker 8 | state u32 | adler32 u32 | length of key and value u32 | length of key u32 | key | value

The marker is random for each use of a segment and begins each of its records: so records after a damaged one are found,
records of an earlier use are never mistaken for current ones, and no message content can pass for one. The checksum
covers key and value and starts with the key's length; it takes half of a CRC's time. The state is zero, and DONE once
the message is settled: it needs no sending any more.

Data copied into the map belongs to the operating system: a killed process loses none of it. It is never synced, so a
power failure may lose it. All blocks are allocated beforehand, since writing to a map on a full disk would kill the
process (SIGBUS).
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
    """An open, mapped and locked segment. Raises OSError when the operating system does.

    Only its current holder in a Journal writes it; any thread may call `done`.
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
        self._fd = -1  # until ownership is handed over
        self._topic = topic
        self.map = mmap.mmap(fd, size)

    @classmethod
    def create(cls, path: Path, topic: str, size: int) -> Segment:
        """Create a file of `size` bytes for messages of `topic`; only its owner can read it."""
        making = path.with_suffix(".new")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        opened: list[int] = []
        try:
            opened.extend(
                starmap(os.open, ((making, flags, 0o600),))
            )  # one step: see steptrail.schemas.foreign
            [fd] = opened
            # Named only once locked: a process that looks for orphans could be faster than the lock.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(fd, 0, size)
            made = cls(path, fd, topic, size, b"")
            made._fd = fd
        except BaseException:  # including a signal handler's
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
        """Take over a segment whose process is gone. Raises NotASpoolError for any other file."""
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
        """Drop all records and start with a new marker. Atomic: a foreign exception leaves all of it done, or
        nothing.
        """
        marker = os.urandom(8)
        name = self._topic.encode()
        head = _HEAD.pack(MAGIC, marker, len(name)) + name
        head += _CRC.pack(zlib.crc32(head))
        length = len(head)
        acknowledged = count(1)
        acknowledge = acknowledged.__next__
        # No call and no loop from here on: nothing can interrupt.
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
        """How many records written here are not done."""
        return self.records + 1 - position(self._acknowledged)

    def done(self, at: int) -> bool:
        """Mark the record at `at` as settled; returns whether it was the last one of a full segment.

        Idempotent. Mark and count change together: a foreign exception comes before, or after the last call.
        """
        data, state = self.map, at + STATE
        if data[state]:  # only DONE is ever written there
            return False
        data[state : state + 4] = DONE
        return self._acknowledge() == self.sealed_at

    def is_done(self, at: int) -> bool:
        """Whether the record at `at` is settled."""
        return self.map[at + STATE : at + STATE + 4] == DONE

    def record(self, at: int) -> Spooled | None:
        """The record at `at`, with its end; None if there is no intact record."""
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
        """The intact records that still need sending, in order."""
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
        """Mark this record as settled."""
        self.done(record.end - len(record.key) - len(record.value) - OVERHEAD)

    def remove(self) -> None:
        """Remove the file, still locked, and close it."""
        try:
            self.path.unlink(missing_ok=True)
        finally:
            self.close()

    def close(self, *, cut: bool = False) -> None:
        """Close the file; with `cut`, truncate it to what it needs. A late `done` does no harm."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if cut:
                os.ftruncate(fd, self.used)
            fcntl.flock(
                fd, fcntl.LOCK_UN
            )  # also for the map's own descriptor, which closes with the last reference
        finally:
            os.close(fd)

    def __del__(self) -> None:
        # A signal handler raised during creation. Whatever still holds the map holds the lock.
        if (fd := getattr(self, "_fd", -1)) >= 0:
            os.close(fd)

    def disown(self) -> None:
        """In a forked child: close it without releasing the parent's lock."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self.map.close()  # its duplicate descriptor would keep the lock beyond the parent's life


def _marker(start: bytes, topic: str) -> bytes | None:
    """The marker from a header copy that is intact and names this topic; None if there is none."""
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
