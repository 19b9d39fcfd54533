"""Takes over spools and journals of dead processes, one folder at a time, and resends their messages.

A file whose lock is free has no process any more. It is held for a moment before its messages are sent: the last
messages of its process may still be on their way into the broker, and a resent message must come after the original.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from confluent_kafka import Message

from steptrail.producers.fork_safe_logging import fork_safe_log
from steptrail.producers.persistence import journal_file
from steptrail.producers.persistence.journal_file import Segment
from steptrail.producers.persistence.spool_file import NotASpoolError, Spooled, SpoolFile

_log = fork_safe_log("steptrail.emitter")

HELD_FIRST_S: Final = 2.0
"""How long a file is held before its messages are sent."""
_LOOK_EVERY_S = 10.0
_AT_ONCE = 64
_ABANDONED_S = 60.0


class LeftFile:
    """An orphaned file, as a Source of messages to resend."""

    def __init__(self, file: SpoolFile | Segment, refused: Callable[[], None]) -> None:
        self.file = file
        self.sent = 0
        """How many messages of it the broker confirmed."""
        self._records: Iterator[Spooled] = file.read()
        self._refused = refused
        self._first: list[Spooled] = list(islice(self._records, 1))

    @property
    def empty(self) -> bool:
        """Whether it has held no message that still needs sending."""
        return not self._first

    def next(self, most: int) -> list[Spooled]:
        """See Source."""
        first, self._first = self._first, []
        return first + list(islice(self._records, most - len(first)))

    def confirmed(self, record: Spooled, answer: Message) -> None:
        """See Source. A journal records it, in case this process is killed, too."""
        self.sent += 1
        self.file.mark(record)

    def refused(self, record: Spooled) -> None:
        """See Source."""
        self.file.mark(record)
        self._refused()

    def finish(self) -> bool:
        """See Source."""
        self.file.remove()
        return True


class LeftBehind:
    """Finds orphaned files in `folders` for `topic`. For one thread at a time."""

    def __init__(self, folders: list[Path], topic: str) -> None:
        self.refused = 0
        """How many messages the broker refused for good."""
        self.began = False
        """Whether anything was looked at so far."""
        self.looked = False
        """Whether every file was looked at since the last one was finished."""
        self._finished = 0
        self._folders = list(dict.fromkeys(folders))
        self._topic = topic
        self._held: list[LeftFile] = []
        self._given: LeftFile | None = None
        self._look_at = 0.0
        self._send_at = 0.0

    def look(self, now: float) -> int:
        """Take over some unlocked files; returns how many are held."""
        self.began = True
        files = 0
        for folder in self._folders:
            for path in sorted(folder.glob("*.*")):
                files += 1
                if len(self._held) >= _AT_ONCE:
                    break
                if (file := self._taken_over(path)) is None:
                    continue
                left = LeftFile(file, self._count_refused)
                if left.empty:
                    file.remove()
                    continue
                self._held.append(left)
        if self._held:
            self._send_at = now + HELD_FIRST_S
            _log.info("resending %d files that other processes left", len(self._held))
        return files

    def next(self, now: float) -> LeftFile | None:
        """The next file whose messages may be sent by now; looks for more files from time to time."""
        if self._given is not None:
            self._finished += self._given.sent
            self._given = None
        if not self._held and now >= self._look_at:
            files = self.look(now)
            self.looked = not self._held
            if self._held:
                self._look_at = now
            else:  # so that many emitters do not scan many files all the time
                self._look_at = now + _LOOK_EVERY_S * (1 + files / 20)
        if not self._held or now < self._send_at:
            return None
        self._given = self._held.pop()
        return self._given

    @property
    def sent(self) -> int:
        """How many messages the broker acknowledged."""
        return self._finished + (0 if self._given is None else self._given.sent)

    @property
    def holding(self) -> int:
        """How many held files are not finished."""
        return len(self._held) + (self._given is not None)

    def close(self) -> None:
        """Leave unsent messages to the next process."""
        for left in self._take_all():
            left.file.close()

    def disown(self) -> None:
        """In a forked child: release the parent's files."""
        for left in self._take_all():
            if isinstance(left.file, Segment):
                left.file.disown()
            else:
                left.file.close()

    def _take_all(self) -> list[LeftFile]:
        held, self._held = self._held, []
        given, self._given = self._given, None
        return held if given is None else [*held, given]

    def _count_refused(self) -> None:
        self.refused += 1
        _log.error("the broker rejected a step that another process left")

    def _taken_over(self, path: Path) -> SpoolFile | Segment | None:
        try:
            if path.suffix == journal_file.SUFFIX:
                return Segment.take_over(path, self._topic)
            if path.suffix == ".spool":
                spool = SpoolFile.take_over(path, self._topic)
                if spool.torn_bytes:
                    _log.warning("truncated %d torn bytes at the end of the spool %s", spool.torn_bytes, path)
                return spool
            if path.suffix == ".new":
                _remove_abandoned(path)
        except NotASpoolError as error:
            _log.debug("skipped a file: %s", error)
        return None


def _remove_abandoned(path: Path) -> None:
    """Remove the empty file of a process that was killed while creating it."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat(follow_symlinks=False).st_mtime > _ABANDONED_S:
            path.unlink()
