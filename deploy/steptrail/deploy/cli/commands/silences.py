"""`steptrail alerts silence|silences|expire`: what nobody is notified of for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal.failures import NO, USAGE, CommandError
from steptrail.deploy.terminal.listing import DEFAULT_EVERY, Every, Listing, Watch, answer_without_store
from steptrail.deploy.terminal.misspelt import as_json, unmatched, warn
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, StackDir, Yes, note_dry_run, settings_for
from steptrail.deploy.terminal.output import Column, Table, note, say, show, write_json
from steptrail.deploy.terminal.times import parse_since, show_time
from steptrail.deploy.terminal.vocabulary import named

if TYPE_CHECKING:
    from steptrail.consumers.alerts.model.silence import Silence
    from steptrail.consumers.alerts.topics import Board

_Glob = "A name or a glob such as 'ocr*'; default: any."


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
        raise usage("a silence needs an end: give one of --for and --until.")
    if not reason.strip():
        raise usage("a silence needs a --reason.")
    if (pipeline, step, kind) == ("*", "*", "*") and not everything:
        raise usage("nothing selects what to silence.", "give a --pipeline, a --step or a --kind, or --all.")
    _check_kind(kind)
    now = time.time()
    seconds = _ahead(for_) if for_ is not None else parse_since(until or "").timestamp() - now
    if seconds <= 0:
        raise usage("the silence would have ended already.")
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
            f"Silence {made.id} holds until {utc(made.ends)} UTC. It ends earlier by:  "
            f"`steptrail alerts expire {made.id} --yes`"
        )
        note(f"{counted(alerts, 'alert')} that fire now {'is' if alerts == 1 else 'are'} held back.")
    else:
        say(
            f"Would hold back, until {utc(made.ends)} UTC, {counted(alerts, 'alert')} of those that fire now."
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
    watch: Watch = False,
    every: Every = DEFAULT_EVERY,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """List silences: what they hold back, until when, why, by whom. With --json one object a line.

    \b
    steptrail alerts silences
    """
    from steptrail.consumers.alerts.topics import read_board

    settings = settings_for(directory)

    def ask() -> Listing:
        now = time.time()
        silences = read_board(settings, timeout=15).silences.values()
        found = sorted((each for each in silences if all_ or each.ends > now), key=lambda each: each.ends)
        return Listing([named(each.as_dict()) for each in found], lambda: _draw(found))

    answer_without_store(ask, ("id",), json=json, watch=watch, every=every)


def _draw(found: list[Silence]) -> None:
    if found:
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
        until = utc(each.ends) + ("" if each.ends > now else " (over)")
        table.add(each.id, each.pipeline, each.step, each.kind, until, each.reason, each.by)
    show(table)


def _ahead(text: str) -> float:
    """Seconds of a duration such as `2h`."""
    now = time.time()
    seconds = now - parse_since(text).timestamp()
    if not text.strip()[:1].isdigit() or "-" in text:
        raise usage(f"--for takes a duration such as 30m, 2h or 1d, not {text!r}.")
    return round(seconds, 1)


def _me() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this user id
        return "unknown"


def utc(moment: float) -> str:
    """Seconds since the epoch as they are shown."""
    from datetime import datetime, timezone

    return show_time(datetime.fromtimestamp(moment, timezone.utc))


def usage(message: str, hint: str | None = None) -> CommandError:
    """A mistake in the command line of `alerts`."""
    return CommandError(
        message, exit_code=USAGE, kind="usage", hint=hint or "steptrail alerts silence --help shows how."
    )
