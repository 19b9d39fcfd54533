"""A file of messages that could not be sent: append-only, checksummed, locked by its writer or reader.

    magic 8 | length of topic u16 | topic          once, at the beginning
    crc32 u32 | length u32 | length of key u32 | key | value        for each message

The checksum covers what follows the length. Written data belongs to the operating system: a killed process loses none
of it. `sync` brings it to disk; a power failure may lose what was written since, and tear the tail. The first record
that is incomplete, or whose checksum is wrong, ends the file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

MAGIC: Final = b"STPSPL1\n"
_HEAD = Struct("<8sH")
_RECORD = Struct("<II")
_KEY = Struct("<I")
OVERHEAD: Final = _RECORD.size + _KEY.size
"""Bytes of a record beside its key and value."""
_LONGEST: Final = 64 * 1024 * 1024


class Spooled(NamedTuple):
    """A message, and the offset of the next one in the file."""

    key: bytes
    value: bytes
    end: int


class NotASpoolError(Exception):
    """The file is held by another process, is gone, or holds something else."""


class SpoolFile:
    """An open and locked file. Raises OSError when the operating system does; for one thread at a time."""

    def __init__(self, path: Path, fd: int, start: int, size: int) -> None:
        self.path = path
        self.start = start
        """Where the first record begins."""
        self.size = size
        """Where the next record goes."""
        self.torn_bytes = 0
        self._fd = fd
        self._dirty = False
        self._broken = False

    @classmethod
    def create(cls, path: Path, topic: str) -> SpoolFile:
        """Create a file for messages of `topic`; only its owner can read it."""
        name = topic.encode()
        head = _HEAD.pack(MAGIC, len(name)) + name
        # Named only once locked: a process that looks for orphans could be faster than the lock.
        making = path.with_suffix(".new")
        fd = os.open(making, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(fd, head)
            making.rename(path)
        except OSError:
            os.close(fd)
            making.unlink(missing_ok=True)
            raise
        return cls(path, fd, len(head), len(head))

    @classmethod
    def take_over(cls, path: Path, topic: str) -> SpoolFile:
        """Take over an orphaned file and truncate its torn tail. Raises NotASpoolError."""
        fd = -1
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found_file = os.fstat(fd)
            if not stat.S_ISREG(found_file.st_mode) or found_file.st_uid != os.geteuid():
                raise NotASpoolError(f"{path} is no file of this user")
            if found_file.st_ino != path.lstat().st_ino:  # removed between the two calls above
                raise NotASpoolError(str(path))
            name = topic.encode()
            head = _HEAD.pack(MAGIC, len(name)) + name
            if os.pread(fd, len(head), 0) != head:
                raise NotASpoolError(f"{path} holds no messages for {topic}")
            found = cls(path, fd, len(head), found_file.st_size)
            found._cut_torn_tail()
        except BlockingIOError:
            os.close(fd)
            raise NotASpoolError(f"{path} is another process's") from None
        except (OSError, NotASpoolError) as error:
            if fd >= 0:
                os.close(fd)
            raise NotASpoolError(str(error)) from None
        return found

    def append(self, key: bytes, value: bytes) -> None:
        """Append one message, atomically."""
        if self._broken:
            raise OSError(errno.EIO, "half a record could not be taken back")
        body = _KEY.pack(len(key)) + key + value
        record = _RECORD.pack(zlib.crc32(body), len(body)) + body
        try:
            written = os.write(self._fd, record)
        except OSError:
            self._back_to(self.size)
            raise
        if written != len(record):
            self._back_to(self.size)
            raise OSError(errno.ENOSPC, f"{written} of {len(record)} bytes were written")
        self.size += written
        self._dirty = True

    def read(self, start: int | None = None) -> Iterator[Spooled]:
        """Yield messages from offset `start`, or the first, up to the first incomplete one."""
        at = self.start if start is None else start
        while at < self.size:
            head = os.pread(self._fd, _RECORD.size, at)
            if len(head) < _RECORD.size:
                return
            crc, length = _RECORD.unpack(head)
            if not _KEY.size <= length <= _LONGEST or at + _RECORD.size + length > self.size:
                return
            body = os.pread(self._fd, length, at + _RECORD.size)
            if len(body) < length or zlib.crc32(body) != crc:
                return
            (key_length,) = _KEY.unpack_from(body)
            at += _RECORD.size + length
            split = _KEY.size + key_length
            yield Spooled(body[_KEY.size : split], body[split:], at)

    def mark(self, record: Spooled) -> None:
        """Do nothing: a spool file is removed once all its messages are settled."""

    def sync(self) -> None:
        """Sync written data to disk."""
        if self._dirty:
            self._dirty = False
            os.fdatasync(self._fd)

    def empty(self) -> None:
        """Delete all messages."""
        os.ftruncate(self._fd, self.start)
        self.size = self.start

    def remove(self) -> None:
        """Remove the file, still locked, and close it."""
        try:
            self.path.unlink(missing_ok=True)
        finally:
            self.close()

    def close(self) -> None:
        """Close the file; in a forked child, without releasing the parent's lock."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _cut_torn_tail(self) -> None:
        end = self.start
        for record in self.read(self.start):
            end = record.end
        self.torn_bytes = self.size - end
        if self.torn_bytes:
            self._back_to(end)
            self.size = end

    def _back_to(self, size: int) -> None:
        try:
            os.ftruncate(self._fd, size)
        except OSError:  # a reader truncates it, and nothing may follow it
            self._broken = True
