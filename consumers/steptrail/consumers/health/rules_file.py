"""The rules file while it is in use: read again when it changes; with a mistake in it the old rules stay in force."""

from __future__ import annotations

import logging
from pathlib import Path

from steptrail.consumers.health.rules.rules import Rules, RulesError

_log = logging.getLogger("steptrail.consumers.judging")


class RulesFile:
    """The rules in force. `fault` says what is wrong with the file as it is now, None when nothing is.

    Without a path: the defaults. A file that is wrong from the start leaves the defaults in force.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self.rules = Rules()
        self.fault: str | None = None

    def look(self) -> bool:
        """Read the file if it has changed; whether other rules are in force now."""
        if self._path is None:
            return False
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError as error:
            return self._refuse(
                None, f"{self._path} cannot be read: {error.strerror}; the rules stay as they were."
            )
        if stamp == self._seen:
            return False
        try:
            rules = Rules.load(self._path)
        except RulesError as error:
            return self._refuse(stamp, str(error))
        self._seen, self.rules, self.fault = stamp, rules, None
        _log.info("rules in force", extra={"file": str(self._path), "rules": len(rules.rules)})
        return True

    def _refuse(self, stamp: tuple[int, int, int] | None, fault: str) -> bool:
        if fault != self.fault:
            _log.error("rules refused: %s", fault)
        self._seen, self.fault = stamp, fault
        return False
