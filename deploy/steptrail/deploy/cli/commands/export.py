"""`steptrail export`: events and lists as files."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from steptrail.deploy.terminal import completing
from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.freshness import DEFAULT_BEHIND, AsOf, MaxBehind
from steptrail.deploy.terminal.listing import Step, statuses
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, Pipeline, StackDir, settings_for
from steptrail.deploy.terminal.output import note, write_bytes
from steptrail.deploy.terminal.times import SINCE_HELP, Until, span_of
from steptrail.deploy.terminal.transfer import Transfer
from steptrail.deploy.terminal.visible import visible
from steptrail.deploy.terminal.whole_file import whole_file

if TYPE_CHECKING:
    from steptrail.consumers.web.service.lists import ListName
    from steptrail.consumers.web.spans import Between
    from steptrail.projections.clickhouse.client import ClickHouse
    from steptrail.schemas.configuration.settings import Settings
    from steptrail.schemas.status import ProcessingStatus

Form = Literal["jsonl", "csv", "parquet"]
FORMS = ("jsonl", "csv", "parquet")
STREAMED = ("events", "errors", "executions")
LISTS = (
    "failing", "in-progress", "documents", "steps", "throughput", "waits", "error-groups", "losses", "emitters",
    "dead-letters", "incomplete",
)  # fmt: skip
_WITH_STATUS = ("events", "executions", "documents")
_WITH_STEP = (*STREAMED, "failing", "in-progress", "steps", "throughput", "waits", "error-groups")
_UNTIL_NOW = ("steps", "throughput", "waits")


def export(
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT",
            help=f"{', '.join((*STREAMED, *LISTS))}.",
            autocompletion=completing.words(*STREAMED, *LISTS),
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Default: standard output.", show_default=False),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="jsonl, csv or parquet; default: as FILE ends, else jsonl.",
            autocompletion=completing.words(*FORMS),
            show_default=False,
        ),
    ] = None,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help=SINCE_HELP)] = "1d",
    until: Until = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            help=f"Of {', '.join(_WITH_STATUS)}; repeatable.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a FILE that exists.")] = False,
    pipeline: Pipeline = None,
    step: Step = None,
    max_behind: MaxBehind = DEFAULT_BEHIND,
    json: Json = False,
    directory: StackDir = None,
) -> None:
    """Write events or any list as a file.

    Of a time range, as JSON lines, CSV or Parquet. `events` are those that happened within the range, `errors`
    those of them in ERROR or FAILED, `executions` those that began within it. These three come in any format, the
    lists as JSON lines or CSV. Memory stays bounded however much there is. FILE is there whole at the end, or not
    at all. In CSV, text that a spreadsheet would take for a formula has an apostrophe before it. On a terminal it
    shows how far it is. With --json what it has to say on standard error is one object: rows (null for Parquet),
    bytes, as_of, behind_seconds, behind_events. Exits 1 when FILE exists, 3 when the tables are further behind
    than --max-behind.

    \b
    steptrail export events --since 7d -o events.parquet
    steptrail export errors --since 1d --pipeline invoices --format csv > errors.csv
    steptrail export executions --since 2026-05-04 --until 2026-05-05 -o executions.parquet
    steptrail export failing -o failing.csv --force
    """
    chosen_form = _form(form, output)
    _check(what, chosen_form, output, step, status)
    from steptrail.schemas.status import ProcessingStatus

    span = span_of(since, until, ends_now=what in _UNTIL_NOW)()
    chosen = statuses(status, tuple(ProcessingStatus))
    if what == "errors":
        chosen = [ProcessingStatus.ERROR, ProcessingStatus.FAILED]
    settings = settings_for(directory)
    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.reading.exports import events_to_export

    with connect(settings) as clickhouse:
        fresh = AsOf(settings, clickhouse, max_behind)
        fresh.refuse_unknown(pipeline, step)
        shown = sys.stderr.isatty() and not (output is None and sys.stdout.isatty())
        expected = None
        if shown and what in ("events", "errors"):
            expected = events_to_export(clickhouse, pipeline, span.span, chosen, step)
        transfer = Transfer(chosen_form, expected, shown=shown)
        pieces = _pieces(clickhouse, settings, fresh, what, chosen_form, pipeline, step, span, chosen)
        _write(transfer.through(pieces), output, force=force)
    if not json:
        rows = "" if transfer.rows is None else f"{counted(transfer.rows, 'row')}, "
        note(f"Wrote {rows}{transfer.bytes / 1e6:,.1f} MB{'' if output is None else f' to {output}'}.")
    fresh.tell(json=json, rows=transfer.rows, bytes=transfer.bytes)


def _form(form: str | None, output: Path | None) -> Form:
    suffix = output.suffix.lower().removeprefix(".") if output is not None else ""
    chosen = form.lower() if form is not None else suffix if suffix in FORMS else "jsonl"
    if chosen not in FORMS:
        raise _usage(f"{form!r} is no format.", f"one of {', '.join(FORMS)}.")
    return cast(Form, chosen)


def _check(what: str, form: Form, output: Path | None, step: str | None, status: list[str] | None) -> None:
    if what not in (*STREAMED, *LISTS):
        from steptrail.schemas.near_names import near_names

        known = (*STREAMED, *LISTS)
        raise CommandError(
            f"there is no list {what!r}.",
            exit_code=USAGE,
            kind="usage",
            near=near_names(what, known),
            hint=f"one of {', '.join(known)}.",
        )
    if form == "parquet" and what not in STREAMED:
        raise _usage(f"{what} do not come as Parquet.", f"take jsonl or csv; Parquet: {', '.join(STREAMED)}.")
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise _usage("Parquet is not for a terminal.", "name a file with --output, or send it into one.")
    if step is not None and what not in _WITH_STEP:
        raise _usage(f"{what} are not by step.", f"--step goes with {', '.join(_WITH_STEP)}.")
    if status and what not in _WITH_STATUS:
        raise _usage(f"{what} are not chosen by status.", f"--status goes with {', '.join(_WITH_STATUS)}.")


def _pieces(
    clickhouse: ClickHouse,
    settings: Settings,
    fresh: AsOf,
    what: str,
    form: Form,
    pipeline: str | None,
    step: str | None,
    span: Between,
    chosen: list[ProcessingStatus],
) -> Iterator[bytes]:
    from steptrail.projections.reading.exports import export_events, export_executions

    if what in STREAMED:
        ask = export_executions if what == "executions" else export_events
        return ask(clickhouse, pipeline, span.span, form, chosen, step)
    from steptrail.consumers.web.service.export import names_of, rows, written
    from steptrail.consumers.web.service.lists import Sources, list_pages
    from steptrail.consumers.web.service.now import numbers_now

    assert form != "parquet"
    sources = Sources(
        clickhouse, clickhouse, settings, lambda name: numbers_now(clickhouse, name, fresh.found)
    )
    pages = list_pages(sources, cast("ListName", what), pipeline, step, span, tuple(chosen))
    first = pages(None)
    return written(rows(first, pages), form, names_of(first))


def _write(pieces: Iterable[bytes], output: Path | None, *, force: bool) -> None:
    if output is not None and str(output) != "-":
        with whole_file(output, force=force) as file:
            file.writelines(pieces)
        return
    if not sys.stdout.isatty():
        for piece in pieces:
            write_bytes(piece)
        return
    decoded = codecs.iterdecode(iter(pieces), "utf-8", "replace")
    for text in decoded:
        sys.stdout.write(visible(text.replace("\r\n", "\n"), keep="\n\t"))
    sys.stdout.flush()


def _usage(message: str, hint: str) -> CommandError:
    return CommandError(message, exit_code=USAGE, kind="usage", hint=hint)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(export)
