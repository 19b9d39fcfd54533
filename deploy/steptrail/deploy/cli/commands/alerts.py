"""`steptrail alerts …`: what fires, silences, and whether targets can be reached."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steptrail.deploy.cli.commands.run.alerts import AlertsFile
from steptrail.deploy.terminal.failures import NO, USAGE, CommandError
from steptrail.deploy.terminal.misspelt import as_json, unmatched, warn
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, StackDir, Yes, note_dry_run, settings_for, variable
from steptrail.deploy.terminal.output import Column, Table, note, say, show, write_json, write_json_lines
from steptrail.deploy.terminal.times import parse_since, show_duration, show_time
from steptrail.deploy.terminal.vocabulary import named

if TYPE_CHECKING:
    from steptrail.consumers.alerts.config.config import AlertsConfig
    from steptrail.consumers.alerts.model.silence import Silence
    from steptrail.consumers.alerts.overview import Shown
    from steptrail.consumers.alerts.topics import Board

_HELP = """
Alerts: which are firing, since when, what suppresses them, which targets were notified.

`steptrail run alerts` publishes them on the alerts topic and notifies the targets of the alerts file.

\b
steptrail alerts list                          the alerts that are firing
steptrail alerts silence -p invoices --for 2h --reason "moving the archive" --yes
steptrail alerts test ops                      send a test to a target, show its answer
steptrail alerts check alerts.toml             check an alerts file
"""

_Glob = "A name or a glob such as 'ocr*'; default: any."


def list_alerts(
    all_: Annotated[
        bool, typer.Option("--all", "-a", help="Also those that ended in the last week.")
    ] = False,
    file: AlertsFile = None,
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
    shown = overview(read_board(settings_for(directory), timeout=15), policy, time.time(), resolved=all_)
    if json:
        write_json_lines(named(each.as_dict()) for each in shown)
    elif shown:
        _show(shown)
    else:
        say("Nothing fires.")
    if not has_file and not json:
        note("No alerts file is named (STEPTRAIL_ALERTS_FILE): who waits for a notification is not known.")


def silence(
    pipeline: Annotated[str, typer.Option("--pipeline", "-p", help=f"Pipeline. {_Glob}")] = "*",
    step: Annotated[str, typer.Option("--step", "-s", help=f"Step. {_Glob}")] = "*",
    kind: Annotated[str, typer.Option("--kind", "-k", help=f"Kind of alert. {_Glob}")] = "*",
    for_: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="How long: 30m, 2h, 1d.", show_default=False)
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="End time, instead of --for.", show_default=False),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; shown with the silence.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Silence everything.")] = False,
    yes: Yes = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Suppress notifications of the matching alerts for a while. The alerts still fire, and a target that was
    notified of one is notified of its end.

    It needs an end (--for or --until) and a --reason, and only says how many alerts it would hold back until it is
    given --yes. With --json the silence as one object: id, pipeline, step_name, kind, starts, ends, reason, by,
    dry_run, alerts (how many of those that fire now it matches), unknown (names that match no event yet: kind, name,
    near).

    \b
    steptrail alerts silence --pipeline invoices --step 'ocr*' --for 2h --reason "new model" --yes
    steptrail alerts silence --kind silence --until 2026-05-04T08:00 --reason "holiday" --yes
    """
    from steptrail.consumers.alerts.overview import new_silence, put_silence
    from steptrail.consumers.alerts.topics import read_board

    if (for_ is None) == (until is None):
        raise _usage("a silence needs an end: give one of --for and --until.")
    if not reason.strip():
        raise _usage("a silence needs a --reason.")
    if (pipeline, step, kind) == ("*", "*", "*") and not everything:
        raise _usage("nothing selects what to silence.", "give a --pipeline, a --step or a --kind, or --all.")
    _check_kind(kind)
    now = time.time()
    seconds = _ahead(for_) if for_ is not None else parse_since(until or "").timestamp() - now
    if seconds <= 0:
        raise _usage("the silence would have ended already.")
    made = new_silence(
        pipeline=pipeline, step=step, kind=kind, now=now, seconds=seconds, reason=reason.strip(), by=_me()
    )
    settings = settings_for(directory)
    alerts = _matched(read_board(settings, timeout=15), made)
    if yes:
        put_silence(settings, made)
    unknown = unmatched([(pipeline, step)], directory)
    if json:
        write_json(
            {**named(made.as_dict()), "dry_run": not yes, "alerts": alerts, "unknown": as_json(unknown)}
        )
        return
    if yes:
        say(
            f"Silence {made.id} holds until {_utc(made.ends)} UTC. It ends earlier by:  "
            f"`steptrail alerts expire {made.id} --yes`"
        )
        note(f"{counted(alerts, 'alert')} that fire now {'is' if alerts == 1 else 'are'} held back.")
    else:
        say(
            f"Would hold back, until {_utc(made.ends)} UTC, {counted(alerts, 'alert')} of those that fire now."
        )
        note_dry_run()
    warn(unknown)


def _matched(board: Board, silence: Silence) -> int:
    """How many of the alerts that fire now a silence matches."""
    return sum(alert.firing and silence.matches(alert) for alert in board.alerts.values())


def _check_kind(glob: str) -> None:
    """Raise CommandError for a kind that no alert can have."""
    from fnmatch import fnmatchcase

    from steptrail.consumers.alerts.clickhouse_poller import SIGHT
    from steptrail.consumers.alerts.model.alert import ERROR_GROUP, TARGET
    from steptrail.consumers.alerts.model.levels import PARTS
    from steptrail.consumers.health.rules.rule_names import rule_names
    from steptrail.schemas.near_names import near_names

    kinds = (*rule_names(), PARTS, SIGHT, ERROR_GROUP, TARGET)
    if not any(fnmatchcase(kind, glob) for kind in kinds):
        raise CommandError(
            f"there is no kind of alert {glob!r}.",
            exit_code=USAGE,
            kind="no_kind",
            hint=f"the kinds are {', '.join(kinds)}.",
            near=near_names(glob, kinds),
        )


def silences(
    all_: Annotated[
        bool, typer.Option("--all", "-a", help="Also those that ended in the last week.")
    ] = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """List silences: what they hold back, until when, why, by whom. With --json one object a line.

    \b
    steptrail alerts silences
    """
    from steptrail.consumers.alerts.topics import read_board

    now = time.time()
    board = read_board(settings_for(directory), timeout=15)
    found = [each for each in board.silences.values() if all_ or each.ends > now]
    found.sort(key=lambda each: each.ends)
    if json:
        write_json_lines(named(each.as_dict()) for each in found)
    elif found:
        show_silences(found)
    else:
        say("No silences.")


def expire(
    silence_id: Annotated[
        str, typer.Argument(metavar="ID", help="The silence, as `alerts silences` names it.")
    ],
    yes: Yes = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """End a silence now. Alerts that are still firing are notified. Exits 1 if there is no such silence.

    It only says which one it would end until it is given --yes. With --json the silence as one object, with dry_run
    and alerts (how many of those that fire now it holds back).

    \b
    steptrail alerts expire 5f3a09c1 --yes
    """
    from steptrail.consumers.alerts.overview import put_silence
    from steptrail.consumers.alerts.topics import read_board

    settings = settings_for(directory)
    board = read_board(settings, timeout=15)
    found: dict[str, Silence] = board.silences
    if silence_id not in found:
        raise CommandError(
            f"there is no silence {silence_id!r}.",
            exit_code=NO,
            kind="no_silence",
            hint="`steptrail alerts silences --all` lists them.",
            near=sorted(found)[:5],
        )
    ended = found[silence_id].expired(time.time())
    alerts = _matched(board, found[silence_id])
    if yes:
        put_silence(settings, ended)
    if json:
        write_json({**named(ended.as_dict()), "dry_run": not yes, "alerts": alerts})
    elif yes:
        say(f"Silence {silence_id} has ended.")
    else:
        kept = found[silence_id]
        say(
            f"Would end silence {silence_id} of {kept.by}, which matches {counted(alerts, 'alert')}: {kept.reason}"
        )
        note_dry_run()


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
        raise _usage("no alerts file is given.", "set STEPTRAIL_ALERTS_FILE or give the file.")
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
            f"{_utc(alert.since)} ({show_duration((now - alert.since) * 1000)})",
            alert.sentence,
            alert.owner,
            _told(each),
        )
    show(table)


def show_silences(found: list[Silence]) -> None:
    """Silences as a table."""
    now = time.time()
    columns = [
        Column("id"),
        Column("pipeline", 2),
        Column("step", 2),
        Column("kind", 2),
        Column("until (UTC)"),
        Column("reason", 4, wrap="words"),
        Column("by", 3),
    ]
    table = Table(columns)
    for each in found:
        until = _utc(each.ends) + ("" if each.ends > now else " (over)")
        table.add(each.id, each.pipeline, each.step, each.kind, until, each.reason, each.by)
    show(table)


def _told(shown: Shown) -> str:
    words = [
        f"{each.target}: {each.status}{'' if each.sure else ', perhaps'} {_utc(each.at)}"
        for each in shown.told
    ]
    words += [f"{name}: waits" for name in shown.waiting]
    if shown.held is not None:
        words.append(f"held back by {'silence' if shown.held.silence else 'alert'} {shown.held.by}")
    return "\n".join(words)


def _ahead(text: str) -> float:
    """Seconds of a duration such as `2h`."""
    now = time.time()
    seconds = now - parse_since(text).timestamp()
    if not text.strip()[:1].isdigit() or "-" in text:
        raise _usage(f"--for takes a duration such as 30m, 2h or 1d, not {text!r}.")
    return round(seconds, 1)


def _me() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this user id
        return "unknown"


def _utc(moment: float) -> str:
    from datetime import datetime, timezone

    return show_time(datetime.fromtimestamp(moment, timezone.utc))


def _usage(message: str, hint: str | None = None) -> CommandError:
    return CommandError(
        message, exit_code=USAGE, kind="usage", hint=hint or "steptrail alerts silence --help shows how."
    )


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
