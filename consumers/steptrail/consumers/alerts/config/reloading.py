"""The alerts file, read again and again; a bad one changes nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from steptrail.consumers.alerts.config.config import AlertsConfig, AlertsFileError

_log = logging.getLogger("steptrail.consumers.alerts")

READ_EVERY_S = 2.0


class Reloading:
    """`config` is what is in force; `mistake` says what is wrong with what the file says now, None if nothing.

    Raises AlertsFileError when the file is wrong at the start. The secrets' files are read again with it.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self.config = AlertsConfig.load(path)
        self.mistake: str | None = None
        self._read_at = clock()

    def refresh(self) -> bool:
        """Read the file if it is time; whether another configuration is in force now."""
        if self._clock() - self._read_at < READ_EVERY_S:
            return False
        self._read_at = self._clock()
        try:
            found = AlertsConfig.load(self._path)
        except AlertsFileError as error:
            if str(error) != self.mistake:
                self.mistake = str(error)
                _log.error("the alerts file is refused: %s", error)
            return False
        if self.mistake is not None:
            self.mistake = None
            _log.info("the alerts file is right again")
        if found.digest == self.config.digest:
            return False
        self.config = found
        _log.info("a new configuration is in force", extra={"targets": sorted(found.targets)})
        return True
