"""`steptrail run …`: the parts that run until they are stopped."""

from __future__ import annotations

import typer

from steptrail.consumers.runtime.signals import stop_at_signals
from steptrail.deploy.cli.commands.run.alerts import alerts
from steptrail.deploy.cli.commands.run.health import health
from steptrail.deploy.cli.commands.run.spool import spool
from steptrail.deploy.cli.commands.run.web import web
from steptrail.deploy.terminal.options import StackDir, settings_for
from steptrail.deploy.terminal.until_stopped import AcceptTopic


def projector(
    accept_topic: AcceptTopic = None,
    directory: StackDir = None,
) -> None:
    """Run the projector: read step events from Kafka, write them to ClickHouse.

    It runs until SIGTERM or Ctrl-C, then finishes its batch, commits and exits (within 10 s; a second
    signal ends it at once). While Kafka or ClickHouse is unavailable it retries. Run up to as many as the
    topic has partitions; they share the work. The log is JSON lines on standard error.

    \b
    steptrail run projector
    STEPTRAIL_METRICS_PORT=9108 steptrail run projector
    """
    from steptrail.consumers.projector.run import run_projector

    settings = settings_for(directory)
    raise typer.Exit(run_projector(settings, stop_at_signals(), accept_topic=accept_topic))


def register(app: typer.Typer) -> None:
    """Add `run` and what can be run."""
    group = typer.Typer(
        help="Run a part until it is stopped: the projector, the health consumer, the alerting consumer,"
        " the HTTP API, what sends spools and journals.",
        no_args_is_help=True,
    )
    group.command("projector")(projector)
    group.command("health")(health)
    group.command("alerts")(alerts)
    group.command("web")(web)
    group.command("spool")(spool)
    app.add_typer(group, name="run")
