"""`steptrail losses`: what was lost, by which worker."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal.freshness import DEFAULT_BEHIND, AsOf, MaxBehind
from steptrail.deploy.terminal.listing import (
    DEFAULT_EVERY,
    Every,
    Limit,
    Listing,
    Question,
    Watch,
    answer,
    as_json,
)
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, Pipeline, StackDir, settings_for
from steptrail.deploy.terminal.output import Column, Table, note, say, show
from steptrail.deploy.terminal.times import SINCE_HELP, show_age, span_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from steptrail.consumers.web.models.operations import LossesAnswer, WorkerLosses
    from steptrail.projections.clickhouse.client import ClickHouse


def losses(
    since: Annotated[str, typer.Option("--since", metavar="TIME", help=SINCE_HELP)] = "1d",
    everyone: Annotated[bool, typer.Option("--all", "-a", help="Also workers that lost nothing.")] = False,
    limit: Limit = 50,
    pipeline: Pipeline = None,
    watch: Watch = False,
    every: Every = DEFAULT_EVERY,
    max_behind: MaxBehind = DEFAULT_BEHIND,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """List the workers that lost events.

    Those that lost most come first, with the reasons. `missing`: accepted by the worker's emitters and not in the
    tables, dropped and failed ones among them; those of an emitter that still runs may be on their way. With
    --json one object a line: `steptrail schema losses` describes it; on standard error the sums, and
    `dead_letters_open`. Exits 1 for a pipeline of which nothing is known, 3 when the tables are further behind
    than --max-behind.

    \b
    steptrail losses
    steptrail losses --since 7d --pipeline invoices --json | jq 'select(.not_closed == 0)'
    """
    span = span_of(since, None)

    def ask(clickhouse: ClickHouse, _: AsOf) -> Listing:
        from steptrail.consumers.web.service.operations import letter_store, losses_answer

        letters = letter_store(clickhouse, settings)
        found = losses_answer(clickhouse, letters, pipeline, span(), everyone, limit)
        about = {name: getattr(found, name) for name in ("missing", "dropped", "failed", "dead_letters_open")}
        return Listing(as_json(found.items), partial(_draw, found), about)

    settings = settings_for(directory)
    question = Question(ask, ("worker", "pipeline"), pipeline)
    answer(settings, question, max_behind=max_behind, json=json, watch=watch, every=every)


def _draw(found: LossesAnswer) -> None:
    if not found.items:
        say("No worker lost an event in this time.")
    else:
        show_losses(found.items)
        note(
            f"{counted(found.missing, 'event')} missing; {found.dropped:,} dropped, {found.failed:,} failed."
        )
    if found.dead_letters_open:
        note(f"{counted(found.dead_letters_open, 'open dead letter')}: `steptrail dlq list`.")


def show_losses(items: Sequence[WorkerLosses]) -> None:
    """Losses by worker as a table."""
    columns = [
        Column("worker"),
        Column("pipeline", 3, unless_same=True),
        Column("missing", right=True),
        Column("accepted", 4, right=True),
        Column("arrived", 4, right=True),
        Column("dropped", 2, right=True),
        Column("failed", 2, right=True),
        Column("not closed", 5, right=True),
        Column("heard of", 6, right=True),
        Column("why", 7, wrap="words", label=True),
    ]
    table = Table(columns)
    for each in items:
        table.add(
            each.worker,
            each.pipeline,
            *(
                f"{n:,}"
                for n in (
                    each.missing,
                    each.accepted,
                    each.arrived,
                    each.dropped,
                    each.failed,
                    each.not_closed,
                )
            ),
            show_age(each.last_heard_at) if each.last_heard_at else "",
            ", ".join(f"{reason} {count:,}" for reason, count in each.reasons.items()),
        )
    show(table)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(losses)
