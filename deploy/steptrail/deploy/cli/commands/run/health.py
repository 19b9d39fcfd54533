"""`steptrail run health`: the health consumer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steptrail.consumers.runtime.signals import stop_at_signals
from steptrail.deploy.terminal.options import StackDir, settings_for
from steptrail.deploy.terminal.until_stopped import AcceptTopic


def health(
    rules: Annotated[
        Path | None,
        typer.Option(
            "--rules",
            metavar="FILE",
            help="The rules file; default: STEPTRAIL_HEALTH_RULES, else the built-in parameters.",
            show_default=False,
        ),
    ] = None,
    accept_topic: AcceptTopic = None,
    directory: StackDir = None,
) -> None:
    """Run the health consumer: evaluate every step from its events, publish changes, aggregate minutes and error
    groups.

    It runs until SIGTERM or Ctrl-C, then writes a snapshot and exits (within 10 s; a second signal ends it at
    once). Several may run: one is active, the others are on standby. While Kafka or ClickHouse is unavailable it
    waits, and the verdict is UNKNOWN. The rules file is read again when it changes; one with a mistake changes
    nothing. Records need the broker's timestamp: a topic without it is refused. The log is JSON lines on
    standard error.

    \b
    steptrail run health
    steptrail run health --rules health.toml
    """
    from steptrail.consumers.health.run import run_health

    settings = settings_for(directory)
    if rules is not None:
        settings = settings.with_values(health_rules=str(rules))
    raise typer.Exit(run_health(settings, stop_at_signals(), accept_topic=accept_topic))
