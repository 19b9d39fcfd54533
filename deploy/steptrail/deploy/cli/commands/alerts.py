"""`steptrail alerts …`: what fires, silences, and whether targets can be reached."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steptrail.deploy.cli.commands.run.alerts import AlertsFile
from steptrail.deploy.cli.commands.silences import expire, silence, silences, usage, utc
from steptrail.deploy.terminal.failures import NO, USAGE, CommandError
from steptrail.deploy.terminal.listing import DEFAULT_EVERY, Every, Listing, Watch, answer_without_store
from steptrail.deploy.terminal.misspelt import as_json, unmatched, warn
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, StackDir, settings_for, variable
from steptrail.deploy.terminal.output import Column, Table, note, say, show, write_json
from steptrail.deploy.terminal.times import show_duration
from steptrail.deploy.terminal.vocabulary import named

if TYPE_CHECKING:
    from steptrail.consumers.alerts.config.config import AlertsConfig
    from steptrail.consumers.alerts.overview import Shown

_HELP = """
Alerts: which are firing, since when, what suppresses them, which targets were notified.

`steptrail run alerts` publishes them on the alerts topic and notifies the targets of the alerts file.

\b
steptrail alerts list                          the alerts that are firing
steptrail alerts silence -p invoices --for 2h --reason "moving the archive" --yes
steptrail alerts test ops                      send a test to a target, show its answer
steptrail alerts check alerts.toml             check an alerts file
"""


def list_alerts(
    all_: Annotated[
        bool, typer.Option("--all", "-a", help="Also those that ended in the last week.")
    ] = False,
    file: AlertsFile = None,
    watch: Watch = False,
    every: Every = DEFAULT_EVERY,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """List the alerts that are firing: since when, what suppresses them, which targets were notified.

    Inhibition and waiting notifications are computed from the alerts file, if one is given. With --json one object a
    line: the alert's fields, held (by, silence, until), told (target, status, at, sure, …), waiting.

    \b
    steptrail alerts list
    steptrail alerts list --json | jq -r 'select(.severity == "CRITICAL") | .sentence'
    """
    from steptrail.consumers.alerts.model.policy import AlertPolicy
    from steptrail.consumers.alerts.overview import overview
    from steptrail.consumers.alerts.topics import read_board

    has_file = file is not None or variable("alerts_file") is not None
    policy = _config(file).policy if has_file else AlertPolicy()
    settings = settings_for(directory)

    def ask() -> Listing:
        shown = overview(read_board(settings, timeout=15), policy, time.time(), resolved=all_)
        return Listing([named(each.as_dict()) for each in shown], lambda: _draw(shown, has_file=has_file))

    answer_without_store(ask, ("id", "episode"), json=json, watch=watch, every=every)


def _draw(shown: list[Shown], *, has_file: bool) -> None:
    if shown:
        _show(shown)
    else:
        say("Nothing fires.")
    if not has_file:
        note("No alerts file is named (STEPTRAIL_ALERTS_FILE): who waits for a notification is not known.")


def try_out(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A target of the alerts file.")],
    file: AlertsFile = None,
    json: Json = False,
) -> None:
    """Send one test alert to a target and show its answer. Exits 1 unless the target accepted it.

    The alert is marked as a test; an Alertmanager gets its end at once. Nothing is written to the
    topics. With --json one object: target, address, delivered, status, said, seconds.

    \b
    steptrail alerts test ops
    """
    from steptrail.consumers.alerts.delivery.send_test import try_target

    config = _config(file)
    if target not in config.targets:
        raise CommandError(
            f"the alerts file has no target {target!r}.",
            exit_code=USAGE,
            kind="no_target",
            near=sorted(config.targets),
        )
    began = time.monotonic()
    answer = try_target(config.targets[target], time.time())
    seconds = time.monotonic() - began
    if json:
        told: dict[str, Any] = {"target": target, "address": config.targets[target].shown}
        told |= {"delivered": answer.delivered, "status": answer.status, "said": answer.said}
        write_json({**told, "seconds": round(seconds, 3)})
    else:
        taken = "taken" if answer.delivered else "not taken"
        say(f"{taken}: {answer.said} ({show_duration(seconds * 1000)})")
    if not answer.delivered:
        raise typer.Exit(NO)


def check(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="The alerts file; default: STEPTRAIL_ALERTS_FILE.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Check an alerts file as `run alerts` reads it, secrets included: every mistake with its line and key (exit 2).

    Names and globs that match no known pipeline or step are a warning, if ClickHouse can be asked. With --json one
    object: targets, routes, owners (how many), unknown (kind, name, near).

    \b
    steptrail alerts check alerts.toml
    """
    config = _config(file)
    routes, owners = config.policy.routes, config.policy.owners
    scopes = [(owner.pipeline, owner.step) for owner in owners]
    scopes += [(pipeline, step) for route in routes for pipeline in route.pipelines for step in route.steps]
    unknown = unmatched(scopes)
    if json:
        write_json(
            {
                "targets": sorted(config.targets),
                "routes": [route.name for route in routes],
                "owners": len(owners),
                "unknown": as_json(unknown),
            }
        )
    else:
        say(
            f"{counted(len(config.targets), 'target')}, {counted(len(routes), 'route')}, "
            f"{counted(len(owners), 'owner')}: nothing is wrong."
        )
        warn(unknown)


def _config(file: Path | None) -> AlertsConfig:
    from steptrail.consumers.alerts.config.config import AlertsConfig

    named = variable("alerts_file")
    path = file or (Path(named) if named else None)
    if path is None:
        raise usage("no alerts file is given.", "set STEPTRAIL_ALERTS_FILE or give the file.")
    return AlertsConfig.load(path.expanduser())


def _show(shown: list[Shown]) -> None:
    now = time.time()
    columns = [
        Column("severity"),
        Column("what"),
        Column("kind", 2),
        Column("since (UTC)", 3),
        Column("sentence", 5, wrap="words"),
        Column("owner", 4),
        Column("told", 6, wrap="words", label=True),
    ]
    table = Table(columns)
    for each in shown:
        alert = each.alert
        ended = "" if alert.firing else "resolved, was "
        table.add(
            ended + alert.severity.value,
            alert.scope,
            alert.kind,
            f"{utc(alert.since)} ({show_duration((now - alert.since) * 1000)})",
            alert.sentence,
            alert.owner,
            _told(each),
        )
    show(table)


def _told(shown: Shown) -> str:
    words = [
        f"{each.target}: {each.status}{'' if each.sure else ', perhaps'} {utc(each.at)}"
        for each in shown.told
    ]
    words += [f"{name}: waits" for name in shown.waiting]
    if shown.held is not None:
        words.append(f"held back by {'silence' if shown.held.silence else 'alert'} {shown.held.by}")
    return "\n".join(words)


def register(app: typer.Typer) -> None:
    """Add `alerts` and its commands."""
    group = typer.Typer(help=_HELP, no_args_is_help=True, rich_markup_mode=None)
    group.command("list")(list_alerts)
    group.command("silence")(silence)
    group.command("silences")(silences)
    group.command("expire")(expire)
    group.command("test")(try_out)
    group.command("check")(check)
    app.add_typer(group, name="alerts")
