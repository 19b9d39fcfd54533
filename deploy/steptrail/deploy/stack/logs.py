"""Bounded log files: the parts append to them, the supervisor turns them over."""

from __future__ import annotations

import contextlib
import os
import shutil
from datetime import datetime, timezone
from pathlib import Path

MAX_LOG_BYTES = 10 * 1024 * 1024
"""A part's log is turned over at this size; one older file is kept."""

_START = "--- steptrail: a start at "


def mark_start(log: Path) -> None:
    """Write a line that tells the starts of a part apart."""
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{_START}{datetime.now(timezone.utc).isoformat(timespec='seconds')}\n")


def turn_over(log: Path, *, limit: int = MAX_LOG_BYTES) -> bool:
    """Copy a log that is past its limit to ``NAME.1`` and empty it in place; say whether it was.

    In place, because its writer keeps the file open (for appending, so that it goes on at the new end). Lines
    written between copy and cut are lost; nothing blocks the writer, whatever happens to this process.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size > limit:
            shutil.copyfile(log, log.with_name(log.name + ".1"))
            os.truncate(log, 0)
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
