"""Bounded log files: the parts append to them, the supervisor turns them over."""

from __future__ import annotations

import contextlib
import os
import shutil
from datetime import datetime, timezone
from pathlib import Path

from steptrail.deploy.private_files import open_private

MAX_LOG_BYTES = 10 * 1024 * 1024
"""A part's log is turned over at this size; one older file is kept."""

_START = "--- steptrail: a start at "


def mark_start(log: Path) -> None:
    """Write a line that tells the starts of a part apart."""
    with os.fdopen(open_private(log, os.O_WRONLY | os.O_APPEND), "a", encoding="utf-8") as file:
        file.write(f"{_START}{datetime.now(timezone.utc).isoformat(timespec='seconds')}\n")


def turn_over(log: Path, *, limit: int = MAX_LOG_BYTES) -> bool:
    """Copy a log that is past its limit to ``NAME.1`` and empty it in place; say whether it was.

    In place, because its writer keeps the file open (for appending, so that it goes on at the new end). Lines
    written between copy and cut are lost; nothing blocks the writer, whatever happens to this process.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size > limit:
            older = log.with_name(log.name + ".1")
            older.unlink(missing_ok=True)
            with os.fdopen(open_private(log, os.O_RDWR), "r+b") as file:
                with os.fdopen(open_private(older, os.O_WRONLY | os.O_EXCL), "wb") as copy:
                    shutil.copyfileobj(file, copy)
                file.truncate(0)
            return True
    return False


def tail(log: Path, *, lines: int = 15, limit: int = 16_384) -> str:
    """The last lines of a part's latest start, for a message; empty when there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - limit))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    _, started, latest = text.rpartition(_START)
    found = latest.splitlines()[1:] if started else text.splitlines()
    return "\n".join(found[-lines:])
