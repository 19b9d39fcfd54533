"""`steptrail groups …`: errors that are the same, how it stands with them, and what was decided."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.cli.commands.group_changes import (
    GroupId,
    group_json,
    mute,
    reopen,
    resolve,
    rule,
    unknown_told,
)
from steptrail.deploy.terminal import completing
from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.freshness import DEFAULT_BEHIND, AsOf, MaxBehind
from steptrail.deploy.terminal.listing import (
    DEFAULT_EVERY,
    Every,
    Listing,
    Question,
    Watch,
    answer,
    note_counted,
)
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import (
    Json,
    Pipeline,
    StackDir,
    settings_for,
    spelled_out,
)
from steptrail.deploy.terminal.output import (
    Column,
    Styled,
    Table,
    note,
    say,
    show,
    write_json,
)
from steptrail.deploy.terminal.times import SINCE_HELP, parse_since, show_age, show_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from steptrail.projections.clickhouse.client import ClickHouse
    from steptrail.projections.stores.error_groups import (
        GroupDetails,
        GroupList,
        GroupState,
    )

_STYLES = {"NEW": "bold red", "REGRESSED": "bold red", "ONGOING": "red", "RESOLVED": "green", "MUTED": "dim"}
_BARS = "▁▂▃▄▅▆▇█"
_TREND_BARS = 24

_HELP = """
Errors that are the same but for numbers, names and places in their message: since when, how often, and how it
stands with them.

\b
NEW         first seen within a day
ONGOING     known for longer
REGRESSED   seen again after it had been resolved, or after a week of silence
RESOLVED    by hand, and not seen since
MUTED       by hand

Without a command it lists the groups with errors since --since (by whole hours), most errors first. They are
counted by the health consumer (steptrail run health); steptrail errors --group does without it.

With --json one object a line: group_id, pipeline, step_name, error_type, template, state, first_seen, last_seen,
count, documents, lately (errors since --since), trend (these by hour), and more. After the lines, on standard error,
one object: rows, other_groups and other_errors (not listed), judged_until (counted up to), as_of, behind_seconds,
behind_events. Exits 1 for a pipeline or step of which nothing is known, 3 when the tables are further behind than
--max-behind.

\b
steptrail groups                                     what failed in the last day
steptrail groups --state new --state regressed       what is new
steptrail groups show 3fa91c                         one group, by the beginning of its id
steptrail groups resolve 3fa91c --reason "fixed in 1.4.2" --yes
steptrail groups mute 3fa91c --reason "their scanner, not ours" --yes
steptrail groups rule --new-for 2d --silent-after 14d --yes

What changes something only shows what it would do until it is given --yes.
"""


def list_groups(
    context: typer.Context,
    step: Annotated[
        str | None,
        typer.Option(
            "--step",
            help="Only this step; default: all.",
            show_default=False,
            callback=spelled_out,
            autocompletion=completing.steps,
        ),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            "-s",
            metavar="STATE",
            help="new, ongoing, regressed, resolved or muted; may be given several times. Default: all.",
            show_default=False,
            autocompletion=completing.words("new", "ongoing", "regressed", "resolved", "muted"),
        ),
    ] = None,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help=SINCE_HELP)] = "1d",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="At most so many.")] = 50,
    pipeline: Pipeline = None,
    watch: Watch = False,
    every: Every = DEFAULT_EVERY,
    max_behind: MaxBehind = DEFAULT_BEHIND,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """List error groups."""
    if context.invoked_subcommand is not None:
        return
    parse_since(since)
    states = _states(state)

    def ask(clickhouse: ClickHouse, _: AsOf) -> Listing:
        from steptrail.projections.reading.throughput import judged_until
        from steptrail.projections.stores.error_groups import error_groups

        start = parse_since(since)
        found = error_groups(clickhouse, pipeline, step, states=states, since=start, limit=limit)
        judged = judged_until(clickhouse)
        about = {
            "other_groups": found.other_groups,
            "other_errors": found.other_errors,
            "not_looked_at": found.not_looked_at,
            "judged_until": judged,
        }
        return Listing([group_json(each) for each in found], partial(_draw, found, start, judged), about)

    question = Question(ask, ("group_id",), pipeline, step)
    answer(settings_for(directory), question, max_behind=max_behind, json=json, watch=watch, every=every)


def _draw(found: GroupList, start: datetime, judged_until: datetime | None) -> None:
    if found or found.other_groups:
        _show_list(found, start)
    else:
        say(f"No such error groups since {show_time(start)} UTC.")
    note_counted(judged_until)


def show_group(
    group_id: GroupId,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="How far back the trend goes.")
    ] = "7d",
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Show one group: its counts, its latest events, and what was decided about it.

    \b
    steptrail groups show 3fa91c
    steptrail groups show 3fa91c0d5e6b7a88 --since 30d --json
    """
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.stores.error_groups import error_group

    start = parse_since(since)
    with connect(settings_for(directory)) as clickhouse, unknown_told():
        details = error_group(clickhouse, group_id, since=start)
    if json:
        write_json({**group_json(details.group), **{k: asdict(details)[k] for k in ("examples", "actions")}})
        return
    _show_details(details, start)


def _states(names: Sequence[str] | None) -> list[GroupState]:
    from steptrail.projections.stores.error_groups import GroupState

    found = []
    for name in names or list(GroupState):
        try:
            found.append(GroupState(name.upper()))
        except ValueError:
            raise CommandError(
                f"{name!r} is no state of an error group.",
                exit_code=USAGE,
                kind="usage",
                hint=f"one of {', '.join(known.value.lower() for known in GroupState)}.",
            ) from None
    return found


def sparkline(trend: Sequence[tuple[datetime, int]], start: datetime, end: datetime) -> str:
    """The errors by hour from `start` to `end` as bars, 24 at most; an hour without any is a blank."""
    hours = max(int(end.timestamp() // 3600) - int(start.timestamp() // 3600) + 1, 1)
    width = -(-hours // _TREND_BARS)
    bars = [0] * -(-hours // width)
    for begin, errors in trend:
        place = (int(begin.timestamp() // 3600) - int(start.timestamp() // 3600)) // width
        if 0 <= place < len(bars):
            bars[place] += errors
    most = max(bars)
    return "".join(_BARS[-(-count * len(_BARS) // most) - 1] if count else " " for count in bars)


def _show_list(found: GroupList, start: datetime) -> None:
    now = datetime.now(timezone.utc)
    columns = [
        Column("group"),
        Column("state"),
        Column("errors", right=True),
        Column("in all", 6, right=True),
        Column("documents", 5, right=True),
        Column("first seen", 8),
        Column("last seen", 3, right=True),
        Column("trend", 4),
        Column("pipeline", 2, unless_same=True),
        Column("step"),
        Column("type", 7),
        Column("message", 9, wrap="words"),
    ]
    table = Table(columns)
    for group in found:
        table.add(
            group.group_id[:8],
            _state_text(group.state),
            group.lately,
            group.count,
            group.documents,
            show_time(group.first_seen),
            show_age(group.last_seen, now=now),
            sparkline(group.trend, start, now),
            group.pipeline,
            group.step_name,
            group.error_type,
            group.template if group.templates < 2 else f"{group.template}: {group.templates} templates",
        )
    if found.other_groups:
        left_out = counted(found.other_groups, "other group")
        table.add("other", "", found.other_errors, *[""] * 8, left_out)
    show(table)
    note(f"Errors since {show_time(start)} UTC, by whole hours.")
    if found.not_looked_at:
        note(f"{found.not_looked_at} of the other groups were counted, but their state was not looked at.")


def _show_details(details: GroupDetails, start: datetime) -> None:
    group = details.group
    now = datetime.now(timezone.utc)
    say(group.template, style="bold")
    facts = Table([Column(""), Column("", wrap="words", min_width=12)], header=False)
    for name, value in (
        ("group", group.group_id),
        ("state", _state_text(group.state)),
        ("pipeline", group.pipeline),
        ("step", group.step_name),
        ("type", group.error_type),
        ("errors", f"{group.count}, {group.lately} since {show_time(start)}"),
        ("documents", group.documents),
        ("first seen", f"{show_time(group.first_seen)}, {show_age(group.first_seen, now=now)}"),
        ("last seen", f"{show_time(group.last_seen)}, {show_age(group.last_seen, now=now)}"),
        ("trend", sparkline(group.trend, start, now)),
    ):
        facts.add(name, value)
    show(facts)
    examples = Table(
        [Column("when (UTC)"), Column("document"), Column("event", 2), Column("message", 3, wrap="words")],
        title="Examples",
    )
    for one in details.examples:
        examples.add(show_time(one.at), one.doc_id, one.event_id, one.message)
    show(examples)
    for done in details.actions:
        why = f": {done.reason}" if done.reason else ""
        say(f"{show_time(done.acted_at)} {done.action.lower()} by {done.acted_by}{why}")


def _state_text(state: GroupState) -> Styled:
    return Styled(state.value, _STYLES[state.value])


def register(app: typer.Typer) -> None:
    """Add `groups` and its commands."""
    group = typer.Typer(help=_HELP, invoke_without_command=True, rich_markup_mode=None)
    group.callback(help=_HELP)(list_groups)
    group.command("show")(show_group)
    for command in (resolve, reopen, mute, rule):
        group.command()(command)
    app.add_typer(group, name="groups")
