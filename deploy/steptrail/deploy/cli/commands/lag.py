"""`steptrail lag`: how far the tables are behind the topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from steptrail.deploy.terminal.failures import UNREACHABLE, CommandError
from steptrail.deploy.terminal.options import Json, StackDir, local_stack, settings_for
from steptrail.deploy.terminal.output import Column, Table, say, show, write_json
from steptrail.deploy.terminal.times import show_duration

if TYPE_CHECKING:
    from steptrail.consumers.loop.lag import LagReport
    from steptrail.schemas.settings import Settings


def lag(json: Json = False, directory: StackDir = None) -> None:
    """Show how far the projection is behind the topic, by partition, in events and in seconds.

    The seconds are the age of the oldest event that is not in the tables yet. With --json one object: topic,
    group, group_state, lag_events, lag_seconds, waiting_for (what the projector waits for), problems, gaps
    (offsets that expired before they were read), members, partitions. Exits 3 when Kafka or ClickHouse does not
    answer; what is known is shown all the same.

    \b
    steptrail lag
    steptrail lag --json | jq -e '.lag_seconds < 10'
    """
    from steptrail.consumers.loop.lag import projector_lag

    settings = settings_for(directory)
    report = projector_lag(settings, status_url=_status_url(settings))
    if json:
        write_json(report.as_dict())
    elif report.partitions:
        _show(report)
    if report.problems:
        raise CommandError("; ".join(report.problems), exit_code=UNREACHABLE, kind="unreachable")


def _status_url(settings: Settings) -> str | None:
    """Where the projector of the local stack says what it does; None when these are not its addresses."""
    stack = local_stack(settings)
    if stack is None or stack.metrics is None:
        return None
    return stack.metrics.removesuffix("/metrics") + "/status"


def _show(report: LagReport) -> None:
    columns = [
        Column("partition", right=True),
        Column("end", 4, right=True),
        Column("projected", 3, right=True),
        Column("behind", right=True),
        Column("oldest", 2, right=True),
        Column("projector", 5, wrap="ellipsis"),
    ]
    table = Table(columns, title=f"Topic {report.topic}")
    for each in report.partitions:
        table.add(
            each.partition,
            _number(each.end),
            _number(each.projected),
            _number(each.lag_events),
            _seconds(each.lag_seconds),
            each.member or "nobody",
        )
    show(table, first=True)
    behind, oldest = _number(report.lag_events), _seconds(report.lag_seconds)
    members = len(report.members)
    say(
        f"{behind} events behind, the oldest {oldest}; group {report.group} is {report.group_state or 'unknown'} "
        f"with {members} member{'' if members == 1 else 's'}."
    )
    if not members:
        say("No projector runs: `steptrail run projector` starts one.", style="yellow")
    for gap in report.gaps:
        say(
            f"Partition {gap.partition} lacks {gap.offsets:,} offsets, {gap.first_offset} to {gap.last_offset}: "
            f"{gap.reason} (noticed {gap.noticed_at:%Y-%m-%d %H:%M:%S} UTC).",
            style="red",
        )
    if report.waiting_for:
        say(f"The projector waits: {report.waiting_for}", style="yellow")


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else show_duration(value * 1000) if value else "0 s"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(lag)
