"""`steptrail doc`: what happened to one document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from steptrail.deploy.cli.commands.incomplete import completeness_parts
from steptrail.deploy.terminal import completing
from steptrail.deploy.terminal.failures import NO, UNREACHABLE, CommandError
from steptrail.deploy.terminal.freshness import DEFAULT_BEHIND, AsOf, MaxBehind, freshness_sentence
from steptrail.deploy.terminal.options import Json, Pipeline, StackDir, settings_for
from steptrail.deploy.terminal.output import (
    Column,
    Styled,
    Table,
    note,
    record_json,
    say,
    show,
    status_text,
    write_json,
)
from steptrail.deploy.terminal.times import show_age, show_duration, show_time
from steptrail.deploy.terminal.visible import distinct
from steptrail.deploy.terminal.vocabulary import named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from steptrail.projections.clickhouse.client import ClickHouse
    from steptrail.projections.clickhouse.pages import Page
    from steptrail.projections.reading.completeness import DocumentCompleteness
    from steptrail.projections.reading.records import StepRecord
    from steptrail.projections.reading.stalls import ObservedRecord
    from steptrail.projections.reading.states import StepState

#: Documents whose id holds the given one, is a few keystrokes from it, or shares most of its letter groups.
#: It looks at every id, so it is bounded where it is asked.
_NEAR = """
SELECT DISTINCT doc_id
FROM steps
WHERE ({pipeline:String} = '' OR pipeline = {pipeline:String})
    AND (
        positionCaseInsensitiveUTF8(doc_id, {doc:String}) > 0
        OR (length(doc_id) BETWEEN length({doc:String}) - 2 AND length({doc:String}) + 2
            AND editDistance(doc_id, {doc:String}) <= 2)
        OR ngramDistanceCaseInsensitive(doc_id, {doc:String}) < 0.4
    )
ORDER BY
    positionCaseInsensitiveUTF8(doc_id, {doc:String}) = 0,
    ngramDistanceCaseInsensitive(doc_id, {doc:String}),
    doc_id
LIMIT 5
"""


def doc(
    document: Annotated[
        str, typer.Argument(metavar="DOC", help="The document's id.", autocompletion=completing.documents)
    ],
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many events of the timeline.")
    ] = 200,
    after: Annotated[
        str | None,
        typer.Option(
            "--after", metavar="CURSOR", help="Go on where the page before it ended.", show_default=False
        ),
    ] = None,
    pipeline: Pipeline = None,
    max_behind: MaxBehind = DEFAULT_BEHIND,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Show the state of each of a document's steps and the timeline of its events.

    The timeline is in the order of the workers' clocks, oldest first. Where the pipeline's steps were declared
    (`steptrail expect`), it says whether the document is complete and what is missing. A step that was started and
    is past its deadline is STALLED. With --json one object: doc_id, completeness (a list, one entry for each
    pipeline that declared its steps), state (a list, one entry for each pipeline and step; status is what a worker
    said, stalled_since a time or null), observations (a list: what consumers found out, STALLED or RETRACTED),
    timeline (a list of events), next (a cursor for --after, or null), as_of, behind_seconds and behind_events (up to
    when everything is known). An unknown document or pipeline exits 1 and names those that may have been meant; 3 says
    that the tables are further behind than --max-behind.

    \b
    steptrail doc invoice-4711
    steptrail doc invoice-4711 --pipeline ocr --json | jq '.state[] | select(.status == "FAILED")'
    """
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.clickhouse.queries import stored
    from steptrail.projections.reading.reader import Reader

    settings = settings_for(directory)
    with connect(settings) as clickhouse:
        document = stored(document, clickhouse)
        fresh = AsOf(settings, clickhouse, max_behind)
        reader = Reader(clickhouse)
        page = reader.timeline(pipeline, document, after=after, limit=limit)
        if not page.items and after is None:
            fresh.refuse_unknown(pipeline)
            raise _unknown(clickhouse, document, pipeline, fresh)
        states = reader.document_state(pipeline, document)
        completeness = reader.completeness(pipeline, document)
        observed = reader.observations(pipeline, document)
    if json:
        write_json({**_as_json(document, completeness, states, page, observed), **fresh.found.as_dict()})
        fresh.tell(json=True, in_answer=True)
        return
    show_document(document, states, page.items, completeness)
    for each in observed:
        if each.stands:
            note(f"{each.step_name} is stalled since {show_time(each.watermark)} UTC: {each.sentence}.")
    if page.next is not None:
        note(f"There are more events: --after {page.next}")
    fresh.tell(json=False)


def show_document(
    document: str,
    states: Sequence[StepState],
    events: Sequence[StepRecord],
    completeness: Sequence[DocumentCompleteness] = (),
) -> None:
    """Print what is known of a document; the pipeline is shown where there are several."""
    several = len({state.pipeline for state in states} | {event.pipeline for event in events}) > 1
    where = f"  in pipeline {distinct(states[0].pipeline)}" if states and not several else ""
    say(Styled(distinct(document), "bold"), where)
    for each in completeness:
        say(f"in pipeline {distinct(each.pipeline)} " if several else "", *completeness_parts(each))
    show(_state_table(states))
    show(_timeline_table(events))


def _state_table(states: Sequence[StepState]) -> Table:
    columns = [
        Column("pipeline", 2, unless_same=True),
        Column("step"),
        Column("status"),
        Column("attempt", 5, right=True, usual="1"),
        Column("runs", 6, right=True, usual="1"),
        Column("took", 3, right=True),
        Column("updated", 4, right=True),
        Column("error", 7, wrap="words"),
    ]
    table = Table(columns, title="State")
    for state in states:
        table.add(
            state.pipeline,
            state.step_name,
            status_text("STALLED" if state.stalled_since is not None else state.status.value),
            state.attempt,
            state.executions,
            show_duration(state.duration_ms),
            show_age(state.updated_at),
            state.error_message,
        )
    return table


def _timeline_table(events: Sequence[StepRecord]) -> Table:
    columns = [
        Column("when (UTC)"),
        Column("+", 5, right=True),
        Column("pipeline", 2, unless_same=True),
        Column("step"),
        Column("status"),
        Column("attempt", 4, right=True, usual="1"),
        Column("took", 3, right=True),
        Column("what", 6, wrap="words"),
    ]
    table = Table(columns, title="Timeline")
    start = events[0].timestamp if events else None
    for event in events:
        since_start = (event.timestamp - start).total_seconds() * 1000 if start else 0.0
        table.add(
            show_time(event.timestamp, precise=True),
            show_duration(since_start),
            event.pipeline,
            event.step_name,
            status_text(event.status.value),
            event.attempt,
            show_duration(event.duration_ms),
            event.error_message or _brief(event.details),
        )
    return table


def _brief(details: dict[str, Any]) -> str:
    """Details in a line: `kind=python, bytes=1204`."""
    text = ", ".join(f"{key}={value}" for key, value in details.items() if not key.startswith("_"))
    return text if len(text) <= 100 else text[:99] + "…"


def _as_json(
    document: str,
    completeness: Sequence[DocumentCompleteness],
    states: Sequence[StepState],
    page: Page[StepRecord],
    observed: Sequence[ObservedRecord],
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "doc_id": document,
        "completeness": [asdict(each) for each in completeness],
        "state": [asdict(state) for state in states],
        "observations": [named(asdict(each)) for each in observed],
        "timeline": [record_json(event) for event in page.items],
        "next": None if page.next is None else str(page.next),
    }


def _unknown(clickhouse: ClickHouse, document: str, pipeline: str | None, fresh: AsOf) -> CommandError:
    from steptrail.schemas.errors import SteptrailError

    try:
        parameters = {"doc": document, "pipeline": pipeline or ""}
        near = clickhouse.query(
            _NEAR, parameters, {"max_execution_time": 5, "timeout_overflow_mode": "break"}
        )
    except SteptrailError:
        near = []  # a courtesy, not worth an error of its own
    where = f" in pipeline {pipeline!r}" if pipeline else ""
    return CommandError(
        f"no events of document {document!r}{where}.",
        exit_code=UNREACHABLE if fresh.stale else NO,
        kind="unknown_document",
        near=[str(name) for (name,) in near],
        hint=freshness_sentence(fresh.found),
    )


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(doc)
