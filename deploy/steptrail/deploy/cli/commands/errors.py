"""`steptrail errors`: what fails, newest first."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.freshness import DEFAULT_BEHIND, AsOf, MaxBehind
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, Pipeline, StackDir, settings_for
from steptrail.deploy.terminal.output import (
    Column,
    Table,
    note,
    record_json,
    say,
    show,
    status_text,
    write_json_lines,
)
from steptrail.deploy.terminal.times import SINCE_HELP, parse_since, show_age, show_time
from steptrail.deploy.terminal.visible import distinct
from steptrail.deploy.terminal.vocabulary import named

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from steptrail.projections.clickhouse.pages import Page
    from steptrail.projections.reading.recent_error_groups import RecentErrorGroups
    from steptrail.projections.reading.records import StepRecord
    from steptrail.projections.reading.stalls import ObservedRecord


def errors(
    since: Annotated[str, typer.Option("--since", metavar="TIME", help=SINCE_HELP)] = "1h",
    warnings: Annotated[
        bool, typer.Option("--warnings", "-w", help="Steps that ended in WARNING too.")
    ] = False,
    stalled: Annotated[
        bool,
        typer.Option(
            "--stalled", help="First the runs that are past their deadline now and were found so since."
        ),
    ] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="At most so many.")] = 50,
    after: Annotated[
        str | None,
        typer.Option(
            "--after", metavar="CURSOR", help="Go on where the page before it ended.", show_default=False
        ),
    ] = None,
    group: Annotated[
        bool,
        typer.Option(
            "--group", "-g", help="By step, error type and what messages have in common, most first."
        ),
    ] = False,
    pipeline: Pipeline = None,
    max_behind: MaxBehind = DEFAULT_BEHIND,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """List the steps that ended in ERROR or FAILED, newest first.

    With --json one object a line: pipeline, doc_id, step_name, status, timestamp, attempt, error_type,
    error_message, details, metrics, and more; `cursor` is for --after. The lines of --stalled, which come with the
    first page, have `what` (STALLED), sentence, started_at, deadline_seconds, decided_by and evidence instead.
    With --group: group_id, pipeline, step_name, error_type, template, count, documents, first_seen, last_seen,
    doc_id, message. How it stands with them: steptrail groups. After the lines, on standard error, one object: rows,
    as_of, behind_seconds and behind_events (up to when everything is known), next or other_groups and other_errors.
    Exits 1 for a pipeline of which nothing is known, 3 when the tables are further behind than --max-behind.

    \b
    steptrail errors                                 the last hour, all pipelines
    steptrail errors --stalled --since 1d            and what was started and does not end
    steptrail errors --since 7d --pipeline invoices --limit 200
    steptrail errors --group --since 1d              what fails most
    steptrail errors --since 2026-05-04T12:00 --json | jq -r .doc_id
    """
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.reading.reader import Reader
    from steptrail.schemas.status import ProcessingStatus

    start = parse_since(since)
    statuses = [ProcessingStatus.ERROR, ProcessingStatus.FAILED] + [ProcessingStatus.WARNING] * warnings
    what = "errors or warnings" if warnings else "errors"
    settings = settings_for(directory)
    if group:
        if after is not None or stalled:
            raise CommandError(
                "--group goes with neither --after nor --stalled.",
                exit_code=USAGE,
                kind="usage",
                hint="leave one of them out; more groups are had by --limit.",
            )
        with connect(settings) as clickhouse:
            fresh = AsOf(settings, clickhouse, max_behind)
            groups = Reader(clickhouse).recent_error_groups(pipeline, start, warnings, limit)
            if not groups:
                fresh.refuse_unknown(pipeline)
        _show_groups(groups, start, what, json=json)
        fresh.tell(
            json=json,
            rows=len(groups),
            other_groups=groups.other_groups,
            other_errors=groups.other_errors,
        )
        return
    with connect(settings) as clickhouse:
        fresh = AsOf(settings, clickhouse, max_behind)
        reader = Reader(clickhouse)
        page = reader.events(pipeline, after, limit, statuses=statuses, start=start)
        stalls = reader.stalls(pipeline, start, limit) if stalled and after is None else []
        if not page.items and not stalls:
            fresh.refuse_unknown(pipeline)
    if json:
        write_json_lines(named(asdict(stall)) for stall in stalls)
        write_json_lines(record_json(record) for record in page.items)
    else:
        _show_page(page, stalls, what, f" in pipeline {distinct(pipeline)}" if pipeline else "", start)
    fresh.tell(json=json, rows=len(stalls) + len(page.items), next=str(page.next) if page.next else None)


def _show_page(
    page: Page[StepRecord], stalls: Sequence[ObservedRecord], what: str, scope: str, start: datetime
) -> None:
    if stalls:
        show_stalls(stalls)
        note(f"{len(stalls):,} stalled now{scope} and found so since {show_time(start)} UTC.")
    if not page.items:
        say(f"No {what}{scope} since {show_time(start)} UTC.")
        return
    show_errors(page.items)
    one = "error or warning" if "warnings" in what else "error"
    note(
        f"{counted(len(page.items), one, what)}{scope} since {show_time(start)} UTC, "
        f"the newest {show_age(page.items[0].timestamp)}."
    )
    if page.next is not None:
        note(f"There are more: --limit, or --after {page.next}")


def show_errors(found: Sequence[StepRecord]) -> None:
    """Errors as a table."""
    columns = [
        Column("when (UTC)"),
        Column("pipeline", 3, unless_same=True),
        Column("step", 2),
        Column("status"),
        Column("attempt", 4, right=True, usual="1"),
        Column("document"),
        Column("error", 5, wrap="words"),
    ]
    table = Table(columns)
    for record in found:
        table.add(
            show_time(record.timestamp),
            record.pipeline,
            record.step_name,
            status_text(record.status.value),
            record.attempt,
            record.doc_id,
            record.error_message or record.error_type,
        )
    show(table)


def show_stalls(found: Sequence[ObservedRecord]) -> None:
    """Stalled runs as a table."""
    columns = [
        Column("since (UTC)"),
        Column("pipeline", 3, unless_same=True),
        Column("step", 2),
        Column("status"),
        Column("document"),
        Column("why", 5, wrap="words"),
    ]
    table = Table(columns)
    for stall in found:
        table.add(
            show_time(stall.watermark),
            stall.pipeline,
            stall.step_name,
            status_text(stall.what.value),
            stall.doc_id,
            stall.sentence,
        )
    show(table)


def _show_groups(groups: RecentErrorGroups, start: datetime, what: str, *, json: bool) -> None:
    if json:
        write_json_lines(asdict(group) for group in groups)
        return
    if not groups:
        say(f"No {what} since {show_time(start)} UTC.")
        return
    columns = [
        Column("group"),
        Column("errors", right=True),
        Column("documents", 4, right=True),
        Column("last seen", 2, right=True),
        Column("pipeline", 3, unless_same=True),
        Column("step"),
        Column("type", 5),
        Column("message", 6, wrap="words"),
    ]
    table = Table(columns)
    for group in groups:
        counts = [group.group_id[:8], group.count, group.documents, show_age(group.last_seen)]
        table.add(*counts, group.pipeline, group.step_name, group.error_type, group.template)
    if groups.other_groups:
        left_out = counted(groups.other_groups, "other group")
        table.add("other", groups.other_errors, "", "", "", "", "", left_out)
    show(table)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(errors)
