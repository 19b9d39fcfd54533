"""`steptrail run spool`: sends what ended workers left in their spools and journals."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.consumers.runtime.signals import stop_at_signals
from steptrail.deploy.terminal.failures import NO, UNREACHABLE, USAGE, CommandError
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, StackDir, settings_for
from steptrail.deploy.terminal.output import note, say, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from steptrail.producers.delivery.drain import Drained

_PROGRESS_EVERY_S = 2.0


def spool(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FOLDER]...",
            help="Folders of spools and journals; default: STEPTRAIL_JOURNAL_DIR.",
            show_default=False,
        ),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Exit when no file of an ended process is left.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            min=0.1,
            help="With --once: give up after so many seconds in which Kafka confirmed nothing.",
        ),
    ] = 60.0,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Deliver the events that workers left in spools and journals when they ended or were killed.

    Running workers with the same folder do this themselves; this command is for hosts with only short-lived
    workers, or none. Run it on the workers' host as their user. Files of live processes are left alone. Each event
    is stored once, however often this runs and whatever is killed: events that are sent again carry a header by
    which the projector skips those that it has.

    Without --once it runs until SIGTERM or Ctrl-C and looks for files every ten seconds or so. What is not sent stays
    in its file. With --json one object at the end: sent, refused (by Kafka, for good), files_left (null
    when Kafka did not answer), reached. Exits 1 when events were refused, or left after --timeout; 3 when Kafka did
    not answer.

    \b
    STEPTRAIL_JOURNAL_DIR=/var/lib/worker/journal steptrail run spool
    steptrail run spool --once /var/lib/worker/journal /var/lib/worker/spool
    """
    from steptrail.producers.delivery.drain import drain

    settings = settings_for(directory)
    if not folders:
        if settings.journal_dir is None:
            raise CommandError(
                "no folder is named.",
                exit_code=USAGE,
                kind="no_folder",
                hint="name the folders of the workers' spools and journals, or set STEPTRAIL_JOURNAL_DIR",
            )
        folders = [Path(settings.journal_dir)]
    for folder in folders:
        if not folder.is_dir():
            raise CommandError(f"{folder} is not a folder.", exit_code=USAGE, kind="no_folder")
    told = drain(settings, folders, stop_at_signals(), once=once, timeout=timeout, tell=_progress())
    if json:
        write_json(
            {
                "sent": told.sent,
                "refused": told.refused,
                "files_left": told.files if told.reached else None,
                "reached": told.reached,
            }
        )
    else:
        say(_said(told))
    if not told.reached:
        raise CommandError(
            f"Kafka at {settings.kafka} did not answer.",
            exit_code=UNREACHABLE,
            kind="unreachable",
            hint="what is left stays in its files: run this again when Kafka is back",
        )
    if told.refused or (once and told.files):
        raise typer.Exit(NO)


def _said(told: Drained) -> str:
    said = f"{counted(told.sent, 'event')} sent again"
    if told.refused:
        said += f", {told.refused} refused by Kafka (the log says why)"
    return f"{said}, {counted(told.files, 'file')} left." if told.files else f"{said}."


def _progress() -> Callable[[Drained], None]:
    """Says on standard error how far it is, now and then, when that changed."""
    at, before = time.monotonic(), ""

    def tell(told: Drained) -> None:
        nonlocal at, before
        said = _said(told) if told.reached else "Kafka does not answer yet."
        if said != before and time.monotonic() - at >= _PROGRESS_EVERY_S:
            at, before = time.monotonic(), said
            note(said)

    return tell
