"""The local stack's folder, and the file by which other processes find the running stack.

A running stack keeps `stack.json` in its folder, readable by its owner only, since it contains the password:
`{"kafka": ..., "clickhouse": ..., "dir": ..., "pid": ..., "metrics": ..., "web": ...}`.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from steptrail.schemas.errors import ConfigurationError

STACK_FILE = "stack.json"


@dataclass(frozen=True)
class StackAddresses:
    """Addresses of a running local stack. `clickhouse` is a URL with credentials: a secret."""

    kafka: str
    clickhouse: str = field(repr=False)
    dir: Path
    pid: int
    metrics: str | None = None
    web: str | None = None


def default_dir() -> Path:
    """The local stack's folder: STEPTRAIL_DIR, or `steptrail` in the user's data folder (XDG)."""
    if chosen := os.environ.get("STEPTRAIL_DIR"):
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME", "")
    # The XDG specification requires that relative paths are ignored.
    base = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"
    return base / "steptrail"


class NoStackError(ConfigurationError):
    """No stack runs in a folder that was named, or in which one ran before, so no addresses are known."""


def read_stack_file(directory: Path | str | None = None) -> StackAddresses | None:
    """Read the addresses of the stack that runs in `directory` (or the default folder); None if none runs.

    Raises ConfigurationError when another user owns the file or can write to it: it determines where events are
    sent, so its writer could receive them.
    """
    found = _look(_path(directory))
    return None if isinstance(found, str) else found


def running_stack(directory: Path | str, *, named_by: str) -> StackAddresses:
    """Read the stack that runs in a folder which `named_by` (an option or variable) names.

    Raises NoStackError, which states what is missing and what to do, when none runs; otherwise as `read_stack_file`.
    """
    path = _path(directory)
    found = _look(path)
    if isinstance(found, str):
        raise NoStackError(
            f"no local stack runs in {path.parent.absolute()}, which {named_by} names: {found}."
        )
    return found


def addresses_of_stack() -> StackAddresses | None:
    """The addresses that settings take from the local stack; None if there is no trace of one.

    Raises NoStackError when STEPTRAIL_DIR names a folder in which no stack runs, or when the default folder's stack
    ended without cleaning up: another system may listen at the default addresses.
    """
    if os.environ.get("STEPTRAIL_DIR"):
        return running_stack(default_dir(), named_by="STEPTRAIL_DIR")
    path = _path(None)
    found = _look(path)
    if not isinstance(found, str):
        return found
    if path.exists():
        raise NoStackError(f"{path} was left by a local stack, but none runs there: {found}.")
    return None


def _path(directory: Path | str | None) -> Path:
    return (default_dir() if directory is None else Path(directory)) / STACK_FILE


def _look(path: Path) -> StackAddresses | str:
    """The stack that a file describes, or why there is none; raises ConfigurationError for another user's file."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            text = file.read()
    except FileNotFoundError:
        return f"it has no {STACK_FILE}" if path.parent.is_dir() else "there is no such folder"
    except OSError as error:
        return f"{STACK_FILE} cannot be read ({error.strerror})"
    if status.st_uid not in (os.geteuid(), 0) or stat.S_IMODE(status.st_mode) & 0o022:
        raise ConfigurationError(
            f"{path} is not used: it belongs to another user or others may write to it."
            " Set STEPTRAIL_KAFKA and STEPTRAIL_CLICKHOUSE, or remove the file."
        )
    try:
        data = json.loads(text)
        found = StackAddresses(
            kafka=str(data["kafka"]),
            clickhouse=str(data["clickhouse"]),
            dir=Path(data["dir"]),
            pid=int(data["pid"]),
            metrics=data.get("metrics"),
            web=data.get("web"),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{STACK_FILE} is not what a stack writes"
    return found if process_lives(found.pid) else f"it has ended (supervisor {found.pid})"


def process_lives(pid: int) -> bool:
    """Whether a process with this id runs, whoever owns it. A zombie does not count."""
    if not 0 < pid < 2**31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs, and another user owns it
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:  # no /proc, or the process just ended
        return not Path("/proc/self/stat").exists()
    return status.rpartition(b")")[2].split()[0] != b"Z"
