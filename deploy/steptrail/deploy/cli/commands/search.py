"""`steptrail search`: find by whatever is in hand."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal import completing
from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.freshness import DEFAULT_BEHIND, AsOf, MaxBehind
from steptrail.deploy.terminal.listing import Listing, Question, answer, as_json
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, Pipeline, StackDir, settings_for, spelled_out
from steptrail.deploy.terminal.output import Column, Table, note, say, show, status_text
from steptrail.deploy.terminal.times import SINCE_HELP, Until, show_time, span_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from steptrail.consumers.web.models.documents import Hit, SearchAnswer
    from steptrail.projections.clickhouse.client import ClickHouse

KIND_WORDS = {
    "documents": "document",
    "errors": "error",
    "groups": "group",
    "workers": "worker",
    "traces": "trace",
    "executions": "execution",
}


def search(
    text: Annotated[
        str,
        typer.Argument(metavar="TEXT", help="What to look for: 2 to 500 characters.", callback=spelled_out),
    ],
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            "-k",
            metavar="KIND",
            help=f"Only among these: {', '.join(KIND_WORDS)}; repeatable.",
            show_default=False,
            autocompletion=completing.words(*KIND_WORDS),
        ),
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help=f"For errors and traces. {SINCE_HELP}")
    ] = "1d",
    until: Until = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many of each kind.")
    ] = 20,
    pipeline: Pipeline = None,
    max_behind: MaxBehind = DEFAULT_BEHIND,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Find by part of an id, an error or a worker.

    It looks through documents, errors, error groups, workers, traces and executions; upper and lower case are the
    same. TEXT is part of a document's name, of an error's message or of a worker's name, or the beginning of a
    trace id or an execution id. Write `--` before a TEXT that begins with a dash. With --json one object a line:
    `steptrail schema search` describes it; on standard error `more` names the kinds of which there is more,
    `matched_errors` is how many errors match. Exits 1 for a pipeline of which nothing is known, 3 when the tables
    are further behind than --max-behind.

    \b
    steptrail search scan_0003
    steptrail search "no answer from" --kind errors --since 7d
    steptrail search 4bf92f3577b34da6 --json | jq -r .doc_id
    """
    span, kinds = span_of(since, until), tuple(dict.fromkeys(kind or KIND_WORDS))
    if unknown := [each for each in kinds if each not in KIND_WORDS]:
        raise CommandError(
            f"there is no kind {unknown[0]!r}.",
            exit_code=USAGE,
            kind="usage",
            hint=f"one of {', '.join(KIND_WORDS)}.",
        )
    if not 2 <= len(text.strip()) <= 500:
        raise CommandError(
            f"search for 2 to 500 characters, not {len(text.strip())}.", exit_code=USAGE, kind="usage"
        )

    def ask(clickhouse: ClickHouse, _: AsOf) -> Listing:
        from steptrail.consumers.web.service.documents import search_answer

        found = search_answer(clickhouse, text, pipeline, span(), kinds, limit)
        about = {"matched_errors": found.matched_errors, "more": found.more}
        return Listing(as_json(found.items), partial(_draw, found), about)

    question = Question(ask, ("kind", "pipeline"), pipeline)
    answer(settings_for(directory), question, max_behind=max_behind, json=json)


def _draw(found: SearchAnswer) -> None:
    if not found.items:
        say("Nothing was found.")
    else:
        show_hits(found.items)
        errors = f"; {counted(found.matched_errors, 'error')} match" if found.matched_errors else ""
        note(f"{counted(len(found.items), 'hit')}{errors}.")
    if found.more:
        note(f"There is more, or not all was looked through in time: {', '.join(found.more)}.")


def show_hits(hits: Sequence[Hit]) -> None:
    """What was found as a table."""
    columns = [
        Column("what"),
        Column("when (UTC)", 3),
        Column("pipeline", 4, unless_same=True),
        Column("step", 3),
        Column("status", 5),
        Column("found"),
        Column("text", 6, wrap="words"),
    ]
    table = Table(columns)
    for hit in hits:
        place = {"groups": hit.group_id, "workers": hit.worker}.get(hit.kind, hit.doc_id)
        text = {"traces": hit.trace_id, "executions": hit.execution_id}.get(hit.kind, hit.text)
        table.add(
            KIND_WORDS[hit.kind],
            show_time(hit.at) if hit.at else "",
            hit.pipeline,
            hit.step_name,
            status_text(hit.status) if hit.status else "",
            place,
            text,
        )
    show(table)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(search)
