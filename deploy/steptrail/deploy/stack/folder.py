"""A stack's folder: its files, who may read them, and the lock that keeps it to one supervisor."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from steptrail.deploy.private_files import check_folder, open_private, write_private
from steptrail.schemas.errors import ConfigurationError, SteptrailError


class StackRunningError(SteptrailError):
    """Another supervisor runs a stack in this folder."""


@dataclass(frozen=True)
class StackFolder:
    """The files below one directory. Only its owner may read it: it holds the store's password."""

    path: Path

    @property
    def kafka(self) -> Path:
        """The broker's configuration and data."""
        return self.path / "kafka"

    @property
    def clickhouse(self) -> Path:
        """The engine's data."""
        return self.path / "clickhouse"

    @property
    def backups(self) -> Path:
        """Backups of the engine's data, a folder each."""
        return self.path / "backups"

    @property
    def logs(self) -> Path:
        """One log file a part."""
        return self.path / "logs"

    @property
    def password_file(self) -> Path:
        """The store's password, one line."""
        return self.path / "clickhouse-password"

    @property
    def reader_password_file(self) -> Path:
        """The password of the store's user who only reads, one line; the engine server makes it."""
        return self.path / "clickhouse-reader-password"

    @property
    def ports_file(self) -> Path:
        """The ports of the last start."""
        return self.path / "ports.json"

    @property
    def stack_file(self) -> Path:
        """The addresses; there only while the stack is ready."""
        return self.path / "stack.json"

    @property
    def status_file(self) -> Path:
        """The latest status of the parts, as the supervisor wrote it."""
        return self.path / "status.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the running supervisor, and holding its pid."""
        return self.path / "supervisor.lock"

    def log(self, part: str) -> Path:
        """The log file of a part."""
        return self.logs / f"{part}.log"

    def create(self) -> None:
        """Make the folder, closed to others; raises ConfigurationError when that cannot be."""
        if "," in str(self.path):
            raise ConfigurationError(
                f"{self.path}: Kafka takes no comma in a folder's name; choose another folder"
            )
        try:
            for folder in (self.path, self.kafka, self.clickhouse, self.backups, self.logs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                # What others could have put in here is not to be trusted, even after the folder is closed.
                check_folder(folder)
            if stat.S_IMODE(self.path.stat().st_mode) & 0o077:
                self.path.chmod(0o700)
        except OSError as fault:
            raise ConfigurationError(f"the stack's folder {self.path} cannot be used: {fault}") from fault

    def password(self) -> str:
        """The store's password, made at the first call."""
        if not self.password_file.exists():
            write_private(self.password_file, secrets.token_urlsafe(18) + "\n")
        return self.password_file.read_text(encoding="utf-8").strip()

    def lock(self) -> IO[str]:
        """Take the folder for this process, for as long as the returned file is open.

        Raises StackRunningError when a supervisor has it.
        """
        file = os.fdopen(open_private(self.lock_file, os.O_RDWR), "r+", encoding="utf-8")
        if not _locked(file):
            pid = file.read().strip()
            file.close()
            raise StackRunningError(
                f"a stack runs in {self.path} already (supervisor {pid or 'starting'}): "
                f"`steptrail status --dir {self.path}` shows it, `steptrail down --dir {self.path}` stops it"
            )
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        return file

    def supervisor_pid(self) -> int | None:
        """The pid of the supervisor that holds the lock, or None when none does."""
        try:
            file = self.lock_file.open(encoding="utf-8")
        except OSError:
            return None
        with file:
            try:
                # A shared lock tells as much as an exclusive one, and two that look do not disturb each other.
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdigit() else None
        return None


def _locked(file: IO[str]) -> bool:
    # Tried for a moment: someone who only looks whether it is held (supervisor_pid) holds it while looking.
    for _ in range(20):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            return True
    return False


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """`write_private` of a JSON object."""
    write_private(path, json.dumps(content) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; an absent or damaged file is an empty one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
