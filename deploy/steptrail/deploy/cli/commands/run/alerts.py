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
        help="The alerts file; default: STEPTRAIL_ALERTS_FILE.",
        show_default=False,
    ),
]


def alerts(file: AlertsFile = None, directory: StackDir = None) -> None:
    """Run the alerting consumer: turn verdicts and error groups into alerts and notify the targets of the alerts
    file.

    It runs until SIGTERM or Ctrl-C, then finishes the requests in flight, records their outcome and exits (within
    10 s; a second signal ends it at once). Several may run: one is active, the others are on standby. It waits
    while Kafka is unavailable and continues without ClickHouse. The file is read again when it changes; one
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
