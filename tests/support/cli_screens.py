"""What the commands show of a day in an invoice pipeline, on a terminal of any width, for tests to compare."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from steptrail.deploy.cli.main import run
from steptrail.deploy.terminal import failures
from steptrail.deploy.terminal.output import say
from support.cli_backup_screens import show_backup
from support.cli_document_screens import DOCUMENTS
from support.cli_health_screens import HEALTH
from support.cli_list_screens import LISTS
from support.cli_operation_screens import OPERATIONS
from support.cli_rebuild_screens import show_rebuild
from support.cli_screen_texts import CJK, NOW, SCAN


class Terminal(io.StringIO):
    """A stream that says of itself that it is a terminal, or not."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class _At(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return NOW


@contextlib.contextmanager
def at_noon() -> Iterator[None]:
    """Ages are those at NOW."""
    with (
        patch("steptrail.deploy.terminal.times.datetime", _At),
        patch("steptrail.deploy.cli.commands.groups.datetime", _At),
        patch("steptrail.deploy.terminal.freshness.datetime", _At),
        patch("steptrail.deploy.cli.commands.alerts.time", SimpleNamespace(time=NOW.timestamp)),
        patch("steptrail.deploy.cli.commands.silences.time", SimpleNamespace(time=NOW.timestamp)),
    ):
        yield


def screen(name: str, width: int | None, **environment: str) -> str:
    """What the command shows in `width` columns, None for a pipe; answer and remarks in the order of writing."""
    stream = Terminal(width is not None)
    environ = {"TERM": "dumb", "COLUMNS": str(width or 80)} | environment
    with (
        at_noon(),
        patch.object(sys, "stdout", stream),
        patch.object(sys, "stderr", stream),
        patch.dict("os.environ", environ),
    ):
        SCREENS[name]()
    return stream.getvalue()


def _mistakes() -> None:
    failures.report(
        failures.CommandError(
            f"no events of document {SCAN!r} in pipeline 'invoices'.",
            near=[SCAN.replace("45", "46"), "invoice-17", CJK],
            hint="events are readable about a second after they were emitted; `steptrail lag` shows how far behind the "
            "projection is.",
        ),
        as_json=False,
    )
    failures.report(
        failures.CommandError("health.toml, line 3: no such rule\nhealth.toml, line 9: not a number"),
        as_json=False,
    )
    run(["errors", "--frobnicate"])
    run(["error"])
    say("No errors in pipeline invoices since 2026-05-04 11:00:00 UTC.")


SCREENS: dict[str, Callable[[], None]] = {
    **LISTS,
    **DOCUMENTS,
    **HEALTH,
    **OPERATIONS,
    "rebuild": show_rebuild,
    "backup": show_backup,
    "mistakes": _mistakes,
}
