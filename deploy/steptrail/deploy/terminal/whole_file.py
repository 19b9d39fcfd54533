"""A file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from steptrail.deploy.terminal.failures import NO, USAGE, CommandError

_ENDING = ("SIGTERM", "SIGHUP")


@contextlib.contextmanager
def whole_file(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """A file to write to under a temporary name beside `path`, which becomes `path` when the block ends well.

    When it does not (an error, Ctrl-C, SIGTERM) nothing is left behind. What is no regular file (/dev/null, a pipe) is
    written to as it is. Raises CommandError: `path` exists (unless `force`), or cannot be written.
    """
    path = Path(os.path.realpath(path))  # a link keeps leading to the file
    if path.exists() and not path.is_file() and not path.is_dir():
        with _told(path), path.open("wb") as straight:
            yield straight
        return
    _refuse(path, force=force)
    with _told(path):
        number, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    try:
        with _ended_by_signals(), _told(path), os.fdopen(number, "wb") as file:
            os.fchmod(number, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
            yield file
            file.flush()
            os.fsync(number)
            _put(name, path, force=force)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _put(name: str, path: Path, *, force: bool) -> None:
    if force:
        os.replace(name, path)
        return
    try:
        os.link(name, path)  # unlike a rename it fails where somebody else has made the file meanwhile
    except FileExistsError:
        _refuse(path, force=False)
    except OSError:  # a file system without links
        _refuse(path, force=False)
        os.replace(name, path)


def _refuse(path: Path, *, force: bool) -> None:
    if path.is_dir():
        raise CommandError(f"{path} is a folder: name a file in it.", exit_code=USAGE, kind="usage")
    if path.exists() and not force:
        raise CommandError(
            f"{path} exists already.", exit_code=NO, kind="file_exists", hint="--force writes over it."
        )


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        raise CommandError(f"{path} cannot be written: {why}.", exit_code=NO, kind="file") from None


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP unwind as Ctrl-C does, so that nothing is left behind."""

    def end(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {name: signal.signal(getattr(signal, name), end) for name in _ENDING}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
