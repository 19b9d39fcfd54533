"""Watches the rules file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from steptrail.consumers.health.rules.rules import Rules
from steptrail.consumers.runtime.watched_file import WatchedFile

_log = logging.getLogger("steptrail.consumers.judging")


def watch_rules(path: Path | None, *, clock: Callable[[], float] = time.monotonic) -> WatchedFile[Rules]:
    """Watch the rules in `path`; uses the defaults without a path, and while the file has been invalid since the
    start.
    """
    return WatchedFile(
        path,
        Rules.load,
        Rules(),
        version=lambda rules: rules.rules,
        what="rules",
        log=_log,
        clock=clock,
    )
