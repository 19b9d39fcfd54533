"""Reloads a configuration file periodically; an invalid file changes nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from steptrail.schemas.errors import ConfigurationError

T = TypeVar("T")

READ_EVERY_S = 2.0


class WatchedFile(Generic[T]):
    """`value` is in effect; `fault` states what is wrong with the current file, None if it is valid.

    `load` reads the file, and the files it refers to, or raises ConfigurationError. It is called every two seconds,
    since neither the time nor the size of a file reveals every change; its result takes effect if its `version`
    differs. `what` names the file in the log. Without a path `value` never changes.
    """

    def __init__(
        self,
        path: Path | None,
        load: Callable[[Path], T],
        value: T,
        *,
        version: Callable[[T], object],
        what: str,
        log: logging.Logger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.value = value
        self.fault: str | None = None
        self._path = path
        self._load = load
        self._version = version
        self._what = what
        self._log = log
        self._clock = clock
        self._read_at = float("-inf")

    def refresh(self) -> bool:
        """Read the file if it is due; returns whether the value changed."""
        if self._path is None or self._clock() - self._read_at < READ_EVERY_S:
            return False
        self._read_at = self._clock()
        try:
            found = self._load(self._path)
        except ConfigurationError as error:
            if str(error) != self.fault:
                self.fault = str(error)
                self._log.error("%s refused: %s", self._what, error)
            return False
        if self.fault is not None:
            self.fault = None
            self._log.info("%s valid again", self._what, extra={"file": str(self._path)})
        if self._version(found) == self._version(self.value):
            return False
        self.value = found
        self._log.info("%s in force", self._what, extra={"file": str(self._path)})
        return True
