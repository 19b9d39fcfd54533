"""Files that only their owner may read, written so that nothing planted beside them is followed."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from steptrail.schemas.errors import ConfigurationError


def write_private(path: Path, text: str) -> None:
    """Replace a file's content at once, readable by its owner alone from its first byte on.

    A symbolic link at `path` is replaced, never followed. Raises ConfigurationError where another user owns the
    folder or could put files into it, OSError where the operating system refuses.
    """
    check_folder(path.parent)
    # A name that nobody can guess, and O_EXCL: a file or link that was put there beforehand is never opened.
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def check_folder(folder: Path) -> None:
    """Raise ConfigurationError where another user owns `folder` or may write into it.

    Root's folders, and shared ones with the sticky bit (/tmp), are fine: there nobody replaces another's files.
    """
    found = folder.stat()
    if found.st_uid not in (os.geteuid(), 0):
        raise ConfigurationError(f"the folder {folder} belongs to another user: choose a folder of your own")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
        raise ConfigurationError(f"other users can write into the folder {folder}: chmod go-w {folder}")


def open_private(path: Path, flags: int) -> int:
    """Open a file of the owner's for `flags`, made where absent; a symbolic link is refused with OSError."""
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
