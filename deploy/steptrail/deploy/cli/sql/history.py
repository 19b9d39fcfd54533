"""What was typed before, in a file that only its owner reads."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit.history import History

from steptrail.deploy.private_files import check_folder, open_private, write_private
from steptrail.schemas.errors import ConfigurationError

_MOST = 10_000
_MOST_BYTES = 4 << 20


def history_file() -> Path:
    """`sql-history` in `$XDG_STATE_HOME/steptrail`, else in `~/.local/state/steptrail`."""
    base = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return folder / "steptrail" / "sql-history"


class PrivateHistory(History):
    """A history in `path`, a JSON string a line; what begins with a space is not kept.

    `fault` says why the file is not used, where it is not: then the history is that of this shell alone. A symbolic
    link is not followed, nor a folder used that others can write into.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self.fault: str | None = None
        self._known = self._read()

    def load_history_strings(self) -> Iterable[str]:
        """What was typed, the latest first."""
        return reversed(self._known)

    def store_string(self, string: str) -> None:
        """Add a line to the file."""
        if self.fault is not None:
            return
        try:
            with os.fdopen(
                open_private(self._path, os.O_WRONLY | os.O_APPEND), "a", encoding="utf-8"
            ) as file:
                file.write(json.dumps(string) + "\n")
        except OSError as error:
            self.fault = f"{self._path}: {error.strerror}"

    def append_string(self, string: str) -> None:
        """Remember what was typed, unless it begins with a space or was typed just before."""
        if string.startswith(" ") or self.get_strings()[-1:] == [string]:
            return
        super().append_string(string)

    def _read(self) -> list[str]:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_folder(self._path.parent)
            with os.fdopen(open_private(self._path, os.O_RDWR), "rb") as file:
                os.fchmod(file.fileno(), 0o600)
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size - _MOST_BYTES))
                lines = file.read().splitlines()[-_MOST:]
            known = [typed for line in lines if (typed := _parsed(line)) is not None]
            if size > _MOST_BYTES:
                write_private(self._path, "".join(json.dumps(each) + "\n" for each in known[-_MOST // 2 :]))
            return known
        except OSError as error:
            self.fault = f"{self._path}: {error.strerror or error}"
        except ConfigurationError as error:
            self.fault = str(error)
        return []


def _parsed(line: bytes) -> str | None:
    try:
        typed = json.loads(line)
    except ValueError:
        return None
    return typed if isinstance(typed, str) else None
