"""`steptrail groups resolve|reopen|mute|rule`: what is decided about error groups."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steptrail.deploy.terminal import completing
from steptrail.deploy.terminal.failures import NO, USAGE, CommandError
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, StackDir, Yes, note_dry_run, settings_for
from steptrail.deploy.terminal.output import say, write_json
from steptrail.deploy.terminal.times import parse_since

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from steptrail.projections.stores.error_groups import Action, ErrorGroup

GroupId = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="The group's id, or the beginning of it.", autocompletion=completing.groups
    ),
]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why, for whoever looks later.")]


def resolve(
    group_id: GroupId, reason: Reason = "", yes: Yes = False, json: Json = False, directory: StackDir = None
) -> None:
    """Say that a group is mended: it is REGRESSED as soon as it is seen again.

    \b
    steptrail groups resolve 3fa91c                   shows which group that is
    steptrail groups resolve 3fa91c --reason "fixed in 1.4.2" --yes
    """
    _act(group_id, "RESOLVE", reason, directory, yes=yes, json=json)


def reopen(
    group_id: GroupId, reason: Reason = "", yes: Yes = False, json: Json = False, directory: StackDir = None
) -> None:
    """Take back that a group was resolved or muted.

    \b
    steptrail groups reopen 3fa91c --reason "not all of it" --yes
    """
    _act(group_id, "REOPEN", reason, directory, yes=yes, json=json)


def mute(
    group_id: GroupId, reason: Reason = "", yes: Yes = False, json: Json = False, directory: StackDir = None
) -> None:
    """Say no more about a group, however often it comes, until it is reopened.

    \b
    steptrail groups mute 3fa91c --reason "their scanner, not ours" --yes
    """
    _act(group_id, "MUTE", reason, directory, yes=yes, json=json)


def rule(
    new_for: Annotated[
        str | None, typer.Option("--new-for", metavar="TIME", help="90m, 2d, 1w.", show_default=False)
    ] = None,
    silent_after: Annotated[
        str | None,
        typer.Option("--silent-after", metavar="TIME", help="An hour at least.", show_default=False),
    ] = None,
    yes: Yes = False,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Show or set for how long a group is new, and after how long a silence it counts as back.

    It holds for all groups, those that are there too.

    \b
    steptrail groups rule
    steptrail groups rule --new-for 2d --silent-after 14d --yes
    """
    from steptrail.deploy.cli.commands.dlq.options import author
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.stores import error_groups

    with connect(settings_for(directory)) as clickhouse:
        changing = new_for is not None or silent_after is not None
        if not changing:
            now = error_groups.rule(clickhouse)
        else:
            try:
                now = error_groups.set_rule(
                    clickhouse,
                    by=author().decided_by,
                    new_for=_duration(new_for),
                    silent_after=_duration(silent_after),
                    dry_run=not yes,
                )
            except ValueError as error:
                raise CommandError(f"{error}.", exit_code=USAGE, kind="usage") from None
    if json:
        told = {"new_for_seconds": now[0].total_seconds(), "silent_after_seconds": now[1].total_seconds()}
        write_json({**told, "dry_run": changing and not yes})
        return
    is_ = "would be" if changing and not yes else "is"
    say(f"A group {is_} new for {now[0]}, and back when it was silent for {now[1]}.")
    if changing and not yes:
        note_dry_run()


def _act(
    group_id: str, action: Action, reason: str, directory: Path | None, *, yes: bool, json: bool
) -> None:
    from steptrail.deploy.cli.commands.dlq.options import author
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.stores.error_groups import act, error_group

    with connect(settings_for(directory)) as clickhouse, unknown_told():
        if yes:
            details = act(clickhouse, group_id, action, by=author().decided_by, reason=reason)
        else:
            details = error_group(clickhouse, group_id)
    group = details.group
    if json:
        write_json({**group_json(group), "dry_run": not yes})
    elif yes:
        say(f"{group.group_id} is {group.state.value} now: {group.template}")
    else:
        counts = f"{counted(group.count, 'error')} of {counted(group.documents, 'document')}"
        say(
            f"Would {action.lower()} {group.group_id}, which is {group.state.value}, {counts}: {group.template}"
        )
        note_dry_run()


def _duration(text: str | None) -> timedelta | None:
    now = datetime.now(timezone.utc)
    return None if text is None else now - parse_since(text, now=now)


@contextmanager
def unknown_told() -> Iterator[None]:
    """An unknown id ends the command with exit code 1."""
    from steptrail.projections.stores.error_groups import UnknownGroup

    try:
        yield
    except UnknownGroup as error:
        raise CommandError(
            f"{error}.", exit_code=NO, kind="unknown_group", hint="steptrail groups lists them."
        ) from None


def group_json(group: ErrorGroup) -> dict[str, Any]:
    """A group for JSON: its fields by name, its trend by hour."""
    return {**asdict(group), "trend": [{"hour": begin, "errors": errors} for begin, errors in group.trend]}
