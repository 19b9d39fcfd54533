"""`steptrail errors`: what fails, newest first."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.freshness import DEFAULT_BEHIND, AsOf, MaxBehind
from steptrail.deploy.terminal.listing import (
    DEFAULT_EVERY,
    After,
    Every,
    Limit,
    Listing,
    Question,
    Watch,
    answer,
)
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
)
from steptrail.deploy.terminal.times import SINCE_HELP, Until, show_age, show_time, span_of
from steptrail.deploy.terminal.visible import distinct
from steptrail.deploy.terminal.vocabulary import named

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from steptrail.projections.clickhouse.client import ClickHouse
    from steptrail.projections.clickhouse.pages import Page
    from steptrail.projections.reading.recent_error_groups import RecentErrorGroups
    from steptrail.projections.reading.records import StepRecord
    from steptrail.projections.reading.stalls import ObservedRecord


def errors(
    since: Annotated[str, typer.Option("--since", metavar="TIME", help=SINCE_HELP)] = "1h",
    until: Until = None,
    warnings: Annotated[
        bool, typer.Option("--warnings", "-w", help="Steps that ended in WARNING too.")
    ] = False,
    stalled: Annotated[
        bool,
        typer.Option(
            "--stalled", help="First the runs that are past their deadline now and were found so since."
        ),
    ] = False,
    limit: Limit = 50,
    after: After = None,
    group: Annotated[
        bool,
        typer.Option(
            "--group", "-g", help="By step, error type and what messages have in common, most first."
        ),
    ] = False,
    pipeline: Pipeline = None,
    watch: Watch = False,
    every: Every = DEFAULT_EVERY,
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
    steptrail errors --since 2026-05-04T12:00 --until 2026-05-04T13:00 --json | jq -r .doc_id
    steptrail errors --watch
    """
    from steptrail.schemas.status import ProcessingStatus

    span = span_of(since, until)
    statuses = [ProcessingStatus.ERROR, ProcessingStatus.FAILED] + [ProcessingStatus.WARNING] * warnings
    what = "errors or warnings" if warnings else "errors"
    if group and (after is not None or stalled or until is not None):
        raise CommandError(
            "--group goes with none of --after, --stalled and --until.",
            exit_code=USAGE,
            kind="usage",
            hint="leave them out; more groups are had by --limit, those of one step by `steptrail groups --step`.",
        )

    def ask_groups(clickhouse: ClickHouse, _: AsOf) -> Listing:
        from steptrail.projections.reading.reader import Reader

        start = span().since
        found = Reader(clickhouse).recent_error_groups(pipeline, start, warnings, limit)
        about = {"other_groups": found.other_groups, "other_errors": found.other_errors}
        return Listing([asdict(each) for each in found], partial(_show_groups, found, start, what), about)

    def ask(clickhouse: ClickHouse, _: AsOf) -> Listing:
        from steptrail.projections.reading.reader import Reader

        reader, within = Reader(clickhouse), span()
        page = reader.events(pipeline, after, limit, statuses=statuses, start=within.since, end=within.until)
        stalls = reader.stalls(pipeline, within.since, limit) if stalled and after is None else []
        items = [*(named(asdict(each)) for each in stalls), *map(record_json, page.items)]
        scope = f" in pipeline {distinct(pipeline)}" if pipeline else ""
        draw = partial(_show_page, page, stalls, what, scope, within.since)
        return Listing(items, draw, {"next": str(page.next) if page.next else None})

    question = (
        Question(ask_groups, ("group_id",), pipeline)
        if group
        else Question(ask, ("event_id", "observation_id"), pipeline)
    )
    answer(settings_for(directory), question, max_behind=max_behind, json=json, watch=watch, every=every)


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


def _show_groups(groups: RecentErrorGroups, start: datetime, what: str) -> None:
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
