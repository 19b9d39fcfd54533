"""`steptrail failing` and `steptrail in-progress`: what is wrong now, and what runs, waits or is stuck."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal import completing
from steptrail.deploy.terminal.freshness import DEFAULT_BEHIND, AsOf, MaxBehind
from steptrail.deploy.terminal.listing import (
    DEFAULT_EVERY,
    After,
    Every,
    Limit,
    Listing,
    Question,
    Step,
    Watch,
    answer,
    as_json,
    note_more,
    pages,
    statuses,
)
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, Pipeline, StackDir, settings_for
from steptrail.deploy.terminal.output import Column, Styled, Table, note, say, show, status_text
from steptrail.deploy.terminal.times import SINCE_HELP, Until, show_age, show_time, span_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from steptrail.consumers.web.models.work import FailingCount, FailingStep, OpenStep
    from steptrail.projections.clickhouse.client import ClickHouse

STEP_KEY = ("pipeline", "doc_id", "step_name")


def failing(
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="TIME", help=f"Failed last since then. {SINCE_HELP}", show_default=False
        ),
    ] = None,
    until: Until = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="error (can be retried) or failed; default: both.",
            autocompletion=completing.words("error", "failed"),
            show_default=False,
        ),
    ] = None,
    by_step: Annotated[bool, typer.Option("--by-step", "-g", help="How many documents, by step.")] = False,
    limit: Limit = 50,
    after: After = None,
    pipeline: Pipeline = None,
    step: Step = None,
    watch: Watch = False,
    every: Every = DEFAULT_EVERY,
    max_behind: MaxBehind = DEFAULT_BEHIND,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """List the documents that are failing now.

    These are the steps that are in ERROR or FAILED, the latest failure first, with the last error. What a retry
    mended is not listed (steptrail errors lists every error that there was). With --json one object a line:
    `steptrail schema failing` describes it; `next` on standard error is for --after. Exits 1 for a pipeline or
    step of which nothing is known, 3 when the tables are further behind than --max-behind.

    \b
    steptrail failing                                 everything that is failing, whenever it began
    steptrail failing --by-step                       how many documents, in which steps
    steptrail failing --pipeline invoices --step ocr --status error
    steptrail failing --json | jq -r 'select(.can_be_retried) | .doc_id'
    steptrail failing --watch
    """
    from steptrail.projections.reading.failing import BAD

    span, chosen = span_of(since, until), statuses(status, BAD)

    def ask(clickhouse: ClickHouse, _: AsOf) -> Listing:
        from steptrail.consumers.web.service.work import failing_answer

        items, following = pages(
            lambda place, size: failing_answer(clickhouse, pipeline, step, span(), chosen, place, size),
            after,
            limit,
        )
        return Listing(as_json(items), partial(_draw_failing, items, following), {"next": following})

    def ask_counts(clickhouse: ClickHouse, _: AsOf) -> Listing:
        from steptrail.consumers.web.models.work import FailingCount
        from steptrail.projections.reading.failing import failing_counts

        found = failing_counts(clickhouse, pipeline, step, span=span().span, statuses=chosen)
        items = [FailingCount.model_validate(each) for each in found[:limit]]
        about = {
            "documents": sum(each.documents for each in found),
            "can_be_retried": sum(each.can_be_retried for each in found),
        }
        return Listing(as_json(items), partial(_draw_counts, items, **about), about)

    question = (
        Question(ask_counts, ("pipeline", "step_name"), pipeline, step)
        if by_step
        else Question(ask, STEP_KEY, pipeline, step)
    )
    answer(settings_for(directory), question, max_behind=max_behind, json=json, watch=watch, every=every)


def in_progress(
    stalled: Annotated[
        bool, typer.Option("--stalled", help="Only what is known to be stuck, or that nobody picks up.")
    ] = False,
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="running or pending; default: both.",
            autocompletion=completing.words("running", "pending"),
            show_default=False,
        ),
    ] = None,
    limit: Limit = 50,
    after: After = None,
    pipeline: Pipeline = None,
    step: Step = None,
    watch: Watch = False,
    every: Every = DEFAULT_EVERY,
    max_behind: MaxBehind = DEFAULT_BEHIND,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """List what runs and what waits now.

    What has run or waited longest comes first. `stalled since` says that the health consumer found it past its
    deadline, with the reason. With --json one object a line: `steptrail schema in-progress` describes it. Exits as
    `steptrail failing` does.

    \b
    steptrail in-progress
    steptrail in-progress --stalled                   what is stuck, and what was never picked up
    steptrail in-progress --status pending --pipeline invoices --watch
    """
    from steptrail.projections.reading.in_progress import OPEN

    chosen = statuses(status, OPEN)

    def ask(clickhouse: ClickHouse, _: AsOf) -> Listing:
        from steptrail.consumers.web.service.work import in_progress_answer

        items, following = pages(
            lambda place, size: in_progress_answer(clickhouse, pipeline, step, chosen, stalled, place, size),
            after,
            limit,
        )
        return Listing(as_json(items), partial(_draw_open, items, following, stalled), {"next": following})

    question = Question(ask, STEP_KEY, pipeline, step)
    answer(settings_for(directory), question, max_behind=max_behind, json=json, watch=watch, every=every)


def _draw_failing(items: Sequence[FailingStep], following: str | None) -> None:
    if not items:
        say("Nothing is failing.")
        return
    show_failing(items)
    retry = sum(each.can_be_retried for each in items)
    note(
        f"{counted(len(items), 'failing step')}; {retry:,} can be retried (ERROR), {len(items) - retry:,} not (FAILED)."
    )
    note_more(following)


def show_failing(items: Sequence[FailingStep]) -> None:
    """Failing steps as a table."""
    columns = [
        Column("failed (UTC)"),
        Column("first failed", 5, right=True),
        Column("pipeline", 3, unless_same=True),
        Column("step", 2),
        Column("status"),
        Column("tries", 4, right=True, usual="1"),
        Column("document"),
        Column("error", 6, wrap="words"),
    ]
    table = Table(columns)
    for each in items:
        table.add(
            show_time(each.failed_at),
            show_age(each.failing_since),
            each.pipeline,
            each.step_name,
            status_text(each.status),
            each.executions,
            each.doc_id,
            each.error_message or each.error_type,
        )
    show(table)


def _draw_counts(items: Sequence[FailingCount], documents: int, can_be_retried: int) -> None:
    if not items:
        say("Nothing is failing.")
        return
    show_failing_counts(items)
    note(
        f"{counted(documents, 'failing document')}, counted once in each step; {can_be_retried:,} can be retried."
    )


def show_failing_counts(items: Sequence[FailingCount]) -> None:
    """How many documents are failing, by step, as a table."""
    columns = [
        Column("documents", right=True),
        Column("can be retried", 2, right=True),
        Column("pipeline", 3, unless_same=True),
        Column("step"),
        Column("first failed", 4, right=True),
        Column("last failure", 4, right=True),
    ]
    table = Table(columns)
    for each in items:
        counts = f"{each.documents:,}", f"{each.can_be_retried:,}"
        table.add(
            *counts,
            each.pipeline,
            each.step_name,
            show_age(each.failing_since),
            show_age(each.last_failed_at),
        )
    show(table)


def _draw_open(items: Sequence[OpenStep], following: str | None, stalled: bool) -> None:
    if not items:
        say("Nothing is known to be stuck." if stalled else "Nothing is in progress.")
        return
    show_open(items)
    stuck = sum(each.stalled_since is not None for each in items)
    note(f"{counted(len(items), 'step')} in progress, {stuck:,} known to be stuck.")
    note_more(following)


def show_open(items: Sequence[OpenStep]) -> None:
    """Steps that run or wait as a table."""
    columns = [
        Column("since (UTC)"),
        Column("for", 4, right=True),
        Column("pipeline", 3, unless_same=True),
        Column("step", 2),
        Column("status"),
        Column("tries", 5, right=True, usual="1"),
        Column("document"),
        Column("stalled", 6, wrap="words", label=True),
    ]
    table = Table(columns)
    for each in items:
        why = f"since {show_time(each.stalled_since)}: {each.sentence}" if each.stalled_since else ""
        table.add(
            show_time(each.open_since),
            show_age(each.open_since).removesuffix(" ago"),
            each.pipeline,
            each.step_name,
            status_text(each.status),
            each.executions,
            each.doc_id,
            Styled(why, "bold magenta"),
        )
    show(table)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(failing)
    app.command("in-progress")(in_progress)
