"""`steptrail run alerts`: the alerting consumer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steptrail.consumers.runtime.signals import stop_at_signals
from steptrail.deploy.terminal.options import StackDir, settings_for

AlertsFile = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        help="The alerts file; STEPTRAIL_ALERTS_FILE unless told.",
        show_default=False,
    ),
]


def alerts(file: AlertsFile = None, directory: StackDir = None) -> None:
    """Run the alerting consumer: turn verdicts and error groups into alerts, tell the targets of the alerts file.

    It runs until SIGTERM or Ctrl-C, then ends the requests that are under way, records what came of them and
    leaves (10 s at most; a second signal ends it at once). Several may run: one works, the others stand by. It
    waits for Kafka when that is away, and goes on without ClickHouse. The file is read again when it changes; one
    with a mistake changes nothing. The log is JSON lines on standard error.

    \b
    STEPTRAIL_ALERTS_FILE=alerts.toml steptrail run alerts
    steptrail run alerts --file alerts.toml
    """
    from steptrail.consumers.alerts import run_alerts

    settings = settings_for(directory)
    if file is not None:
        settings = settings.with_values(alerts_file=str(file))
    raise typer.Exit(run_alerts(settings, stop_at_signals()))
