"""`steptrail lag`: how far the tables are behind the topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from steptrail.deploy.terminal.failures import UNREACHABLE, CommandError
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, StackDir, local_stack, settings_for
from steptrail.deploy.terminal.output import Column, Table, say, show, write_json
from steptrail.deploy.terminal.times import show_duration, show_time

if TYPE_CHECKING:
    from steptrail.consumers.loop.lag import LagReport
    from steptrail.schemas.configuration.settings import Settings


def lag(json: Json = False, directory: StackDir = None) -> None:
    """Show how far the projection is behind the topic, by partition, in events and in seconds.

    The seconds are the age of the oldest event that is not in the tables yet. With --json one object: topic,
    group, group_state, as_of (up to when the tables know everything), behind_seconds and behind_events (also as
    lag_seconds and lag_events, their names in the metrics), waiting_for (what the projector waits for), problems, gaps
    (offsets that expired before they were read), members, partitions. Exits 3 when Kafka or ClickHouse does not
    answer; what is known is shown all the same.

    \b
    steptrail lag
    steptrail lag --json | jq -e '.behind_seconds < 10'
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
    behind = (
        "an unknown number of events" if report.lag_events is None else counted(report.lag_events, "event")
    )
    say(
        f"{behind} behind, the oldest {_seconds(report.lag_seconds)}; group {report.group} is "
        f"{report.group_state or 'unknown'} with {counted(len(report.members), 'member')}."
    )
    if report.as_of is not None:
        say(f"Everything up to {show_time(report.as_of)} UTC is in the tables.")
    if not report.members:
        say("No projector runs: `steptrail run projector` starts one.", style="yellow")
    for gap in report.gaps:
        say(
            f"Partition {gap.partition} lacks {counted(gap.offsets, 'offset')}, {gap.first_offset} to "
            f"{gap.last_offset}: {gap.reason} (noticed {show_time(gap.noticed_at)} UTC).",
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
