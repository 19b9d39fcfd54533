"""`steptrail documents`: the documents, in which state each is."""

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
    Watch,
    answer,
    as_json,
    note_more,
    pages,
    statuses,
)
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, Pipeline, StackDir, settings_for, spelled_out
from steptrail.deploy.terminal.output import Column, Table, note, say, show, status_text
from steptrail.deploy.terminal.times import SINCE_HELP, Until, show_time, span_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from steptrail.consumers.web.models.documents import DocumentSummary
    from steptrail.projections.clickhouse.client import ClickHouse

STATUSES = ("failed", "error", "running", "pending", "warning", "success", "skipped")


def documents(
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help=f"Heard of since then. {SINCE_HELP}")
    ] = "30d",
    until: Until = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="Only these, such as failed or running; repeatable.",
            autocompletion=completing.words(*STATUSES),
            show_default=False,
        ),
    ] = None,
    prefix: Annotated[
        str,
        typer.Option(
            "--prefix",
            help="How their names begin.",
            show_default=False,
            callback=spelled_out,
            autocompletion=completing.documents,
        ),
    ] = "",
    by_name: Annotated[
        bool, typer.Option("--by-name", help="In the order of their names, whatever the time.")
    ] = False,
    limit: Limit = 50,
    after: After = None,
    pipeline: Pipeline = None,
    watch: Watch = False,
    every: Every = DEFAULT_EVERY,
    max_behind: MaxBehind = DEFAULT_BEHIND,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """List documents with the state of each step.

    Those heard of last come first. A document's status is the worst that one of its steps is in now: FAILED,
    ERROR, RUNNING, PENDING, WARNING, SUCCESS, SKIPPED. With --json one object a line: `steptrail schema documents`
    describes it; `next` on standard error is for --after. Exits 1 for a pipeline of which nothing is known, 3 when
    the tables are further behind than --max-behind.

    \b
    steptrail documents --since 1d
    steptrail documents --status failed --status error --pipeline invoices
    steptrail documents --prefix tenant-0042/ --by-name
    steptrail documents --json | jq -r 'select(.status == "RUNNING") | .doc_id'
    """
    from steptrail.projections.reading.document_summaries import WORST_FIRST

    span, chosen = span_of(since, until), statuses(status, WORST_FIRST)

    def ask(clickhouse: ClickHouse, _: AsOf) -> Listing:
        from steptrail.consumers.web.service.documents import documents_answer

        items, following = pages(
            lambda place, size: documents_answer(
                clickhouse, pipeline, "name" if by_name else "recent", prefix, chosen, span(), place, size
            ),
            after,
            limit,
        )
        return Listing(as_json(items), partial(_draw, items, following), {"next": following})

    question = Question(ask, ("pipeline", "doc_id"), pipeline)
    answer(settings_for(directory), question, max_behind=max_behind, json=json, watch=watch, every=every)


def _draw(items: Sequence[DocumentSummary], following: str | None) -> None:
    if not items:
        say("No such documents.")
    else:
        show_documents(items)
        note(f"{counted(len(items), 'document')}.")
    note_more(following)


def show_documents(items: Sequence[DocumentSummary]) -> None:
    """Documents as a table."""
    columns = [
        Column("heard of (UTC)", 2),
        Column("pipeline", 3, unless_same=True),
        Column("status"),
        Column("document"),
        Column("steps", 4, wrap="words", label=True),
    ]
    table = Table(columns)
    for each in items:
        table.add(
            show_time(each.last_at),
            each.pipeline,
            status_text(each.status),
            each.doc_id,
            ", ".join(f"{step.step_name} {step.status}" for step in each.steps),
        )
    show(table)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(documents)
