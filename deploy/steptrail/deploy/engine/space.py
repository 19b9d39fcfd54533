"""Room on the disk, kept free because the engine does not say when a write fails.

Measured with chDB 4.4: where a disk fills up amid a write (or a limit on file sizes is met), INSERT reports success
and the file ends early. What the engine does do is refuse an insert or a merge for which there is no room, with
error 243. So it is told to leave a margin free, for the others who write on the same disk; and a statement that
wrote while the margin went is answered with 243 as well, since nobody knows what became of its rows.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from steptrail.deploy.engine.errors import EngineError
from steptrail.schemas import ConfigurationError


class Space:
    """The margin on the disk that holds `path`."""

    def __init__(self, path: Path, keep_free: int) -> None:
        self._path = path
        self._keep_free = keep_free

    def check_written(self) -> None:
        """Raise EngineError 243 where so little is free that what was just written may be cut off."""
        free = self.free()
        if free < self._keep_free // 4:
            raise EngineError(
                243,
                f"Only {free} bytes are free on the disk of {self._path}: what this statement wrote may be "
                "incomplete. Free some space, then repeat it",
            )

    def free(self) -> int:
        """Return the bytes that this process may still write."""
        found = os.statvfs(self._path)
        return found.f_bavail * found.f_frsize


def lift_file_limits() -> None:
    """Take away this process's limit on file sizes and raise the one on open files.

    Raises ConfigurationError when the size of files stays limited: the engine would lose rows without a word.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if hard != resource.RLIM_INFINITY:
        raise ConfigurationError(
            f"files are limited to {hard} bytes here (ulimit -f), and the engine would lose rows without an error "
            "when it meets the limit: start the server without it"
        )
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
