"""`steptrail incomplete`: the documents that have not gone through the steps that were declared."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steptrail.deploy.terminal.failures import NO, CommandError
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
    note_more,
)
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, Pipeline, StackDir, settings_for
from steptrail.deploy.terminal.output import Column, Styled, Table, note, say, show
from steptrail.deploy.terminal.times import parse_since, show_age, show_time
from steptrail.deploy.terminal.visible import distinct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from steptrail.projections.clickhouse.client import ClickHouse
    from steptrail.projections.reading.completeness import DocumentCompleteness

_STATE_STYLES = {"complete": "green", "incomplete": "yellow", "unexpected": "cyan"}
_PARTS = ("failed", "unfinished", "missing", "unexpected")


def incomplete(
    quiet: Annotated[
        str | None,
        typer.Option(
            "--quiet",
            "-q",
            metavar="TIME",
            help="Only documents without an event for this long (10m, 2h) or since a time.",
            show_default=False,
        ),
    ] = None,
    unexpected: Annotated[
        bool, typer.Option("--unexpected", "-u", help="Also complete documents with unexpected steps.")
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
    """List the documents that lack expected steps, by pipeline and id; `steptrail expect` declares the steps.

    Documents that are still worked on are incomplete too: --quiet leaves them out. A document that sent no
    event at all is not known. With --json one object a line: pipeline, doc_id, state, expected, done, failed,
    unfinished, missing, unexpected, updated_at; `cursor` is for --after; after them, on standard error, one object:
    rows, next, as_of, behind_seconds, behind_events. Exits 1 when no steps are declared or the pipeline is unknown, 3
    when the tables are further behind than --max-behind.

    \b
    steptrail incomplete --quiet 10m
    steptrail incomplete --pipeline invoices --json | jq -r 'select(.missing != []) | .doc_id'
    """
    from steptrail.projections.reading.completeness import CompletenessState

    if quiet is not None:
        parse_since(quiet)
    states = [CompletenessState.INCOMPLETE] + [CompletenessState.UNEXPECTED] * unexpected

    def ask(clickhouse: ClickHouse, fresh: AsOf) -> Listing:
        from steptrail.projections.reading.reader import Reader

        reader, quiet_since = Reader(clickhouse), None if quiet is None else parse_since(quiet)
        page = reader.incomplete(pipeline, after, limit, quiet_since=quiet_since, states=states)
        if not page.items and not reader.expected_steps(pipeline):
            fresh.refuse_unknown(pipeline)
            raise _nothing_declared(pipeline)
        following = str(page.next) if page.next else None
        silent = f" without events since {show_time(quiet_since)} UTC" if quiet_since else ""
        scope = f" in pipeline {distinct(pipeline)}" if pipeline else ""
        draw = partial(_draw, page.items, scope, silent, following, further=after is not None)
        return Listing([completeness_json(each) for each in page.items], draw, {"next": following})

    question = Question(ask, ("pipeline", "doc_id"), pipeline)
    answer(settings_for(directory), question, max_behind=max_behind, json=json, watch=watch, every=every)


def _draw(
    items: Sequence[DocumentCompleteness], scope: str, silent: str, following: str | None, *, further: bool
) -> None:
    if not items:
        say(f"No {'further ' if further else ''}incomplete document{scope}{silent}.")
        return
    show_incomplete(items)
    note(f"{counted(len(items), 'document')}{scope}.")
    note_more(following)


def completeness_parts(found: DocumentCompleteness) -> list[str | Styled]:
    """A line such as `incomplete: 1 of 3 expected steps done; failed: ocr; missing: index`, in parts."""
    state = found.state.value
    line = f": {len(found.done)} of {len(found.expected)} expected steps done"
    for part in _PARTS:
        if names := getattr(found, part):
            line += f"; {part}: {', '.join(names)}"
    return [Styled(state, _STATE_STYLES[state]), line]


def completeness_json(found: DocumentCompleteness) -> dict[str, Any]:
    """A document's completeness for JSON: its fields by name, its cursor as the text that --after takes."""
    return {**asdict(found), "cursor": str(found.cursor)}


def show_incomplete(found: Sequence[DocumentCompleteness]) -> None:
    """Incomplete documents as a table."""
    columns = [
        Column("pipeline", 2, unless_same=True),
        Column("document"),
        Column("done", right=True),
        *(Column(part, 4, wrap="words", min_width=12, label=True) for part in _PARTS),
        Column("last heard of", 3, right=True),
    ]
    table = Table(columns)
    for document in found:
        table.add(
            document.pipeline,
            document.doc_id,
            f"{len(document.done)}/{len(document.expected)}",
            *[", ".join(getattr(document, part)) for part in _PARTS],
            show_age(document.updated_at),
        )
    show(table)


def _nothing_declared(pipeline: str | None) -> CommandError:
    where = f"pipeline {pipeline!r}" if pipeline else "any pipeline"
    return CommandError(
        f"no steps are declared for {where}, so it is unknown what is incomplete.",
        exit_code=NO,
        kind="nothing_declared",
        hint="steptrail expect PIPELINE STEP... --yes   declares what each document goes through.",
    )


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(incomplete)
