"""`steptrail sql`: a query and its answer, or a shell for many of them."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Annotated

import typer

from steptrail.deploy.cli.sql import formats
from steptrail.deploy.cli.sql.formats import Format
from steptrail.deploy.cli.sql.statements import has_rows, own_format, split
from steptrail.deploy.cli.sql.store import Store
from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, StackDir
from steptrail.deploy.terminal.output import note, write_bytes


def sql(
    query: Annotated[
        str | None,
        typer.Argument(
            help="The query; - reads it from standard input; without one a shell on the terminal.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, help="Show at most so many rows; 0 for all of them.")
    ] = 1000,
    form: Annotated[
        Format | None,
        typer.Option("--format", "-f", help="How the answer is written; default: table.", show_default=False),
    ] = None,
    json: Json = False,
    csv: Annotated[
        bool,
        typer.Option(
            "--csv", help="Write CSV with a header, text that reads as a formula with a ' before it."
        ),
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="With CSV: leave all text as it is.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Let the statement write, as the user that the settings name.")
    ] = False,
    directory: StackDir = None,
) -> None:
    """Run a query in ClickHouse and show its answer; without one, a shell with history and completion.

    It only reads: on the local stack as the user `reader`, who has bounds of time, memory and rows; elsewhere as the
    user that the settings name, with ClickHouse's readonly. --write takes that user's rights. docs/sql.md tells of
    every table. With --json one object a line; Parquet is written whole, whatever --limit says.

    \b
    steptrail sql
    steptrail sql "SELECT step_name, status, count() FROM steps GROUP BY ALL ORDER BY ALL"
    steptrail sql "SELECT * FROM step_state WHERE status = 'RUNNING' ORDER BY started_at" --csv
    steptrail sql "SELECT * FROM steps" --format parquet > steps.parquet
    steptrail sql "DESCRIBE steps"
    """
    form = _chosen(form, json=json, csv=csv, raw=raw)
    with closing(Store(directory, write=write)) as store:
        if query is None:
            _shell(store, form, limit, raw=raw)
            return
        text = sys.stdin.read() if query == "-" else query
        if not text.strip(" \n\t;"):
            raise CommandError("the query is empty.", exit_code=USAGE, kind="usage")
        if own_format(text) is not None or (form is Format.PARQUET and has_rows(text)):
            _answer_raw(store, text)
        else:
            _answer(store, text, form, limit, raw=raw)


def _chosen(form: Format | None, *, json: bool, csv: bool, raw: bool) -> Format:
    """The one format that the options name."""
    named = {Format.JSON} if json else set()
    named |= {Format.CSV} if csv else set()
    if len(named) > 1:
        raise CommandError("--json and --csv exclude each other.", exit_code=USAGE, kind="usage")
    named |= {form} if form is not None else set()
    if len(named) > 1:
        raise CommandError("--format and --json or --csv exclude each other.", exit_code=USAGE, kind="usage")
    chosen = named.pop() if named else Format.TABLE
    if raw and chosen is not Format.CSV:
        raise CommandError("--raw goes with --csv only.", exit_code=USAGE, kind="usage")
    return chosen


def _shell(store: Store, form: Format, limit: int, *, raw: bool) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError(
            "Missing argument 'QUERY': without one there is a shell, which needs a terminal.",
            exit_code=USAGE,
            kind="usage",
            hint="`steptrail sql --help` shows how; - reads the query from standard input.",
        )
    from steptrail.deploy.cli.sql.answers import Answers
    from steptrail.deploy.cli.sql.shell import Shell

    Shell(Answers(store, form, limit, raw)).run()


def _answer(store: Store, text: str, form: Format, limit: int, *, raw: bool) -> None:
    answer = store.ask(text, limit=limit)
    names, rows = answer.names, answer.rows
    if formats.is_done(names, text) and form in (Format.TABLE, Format.VERTICAL, Format.PARQUET):
        note("done")
        return
    cut = bool(limit) and len(rows) > limit
    rows = rows[:limit] if cut else rows
    formats.write(form, names, rows, raw=raw)
    if form is Format.TABLE:
        note(counted(len(rows), "row"))
    if cut:
        note(f"The first {counted(limit, 'row')}; there are more: --limit 0 shows all of them.")


def _answer_raw(store: Store, text: str) -> None:
    """The answer as ClickHouse writes it: in the query's own FORMAT, or in Parquet."""
    if own_format(text) is not None:
        pieces = store.raw(text)
        if sys.stdout.isatty():
            sys.stdout.write(b"".join(pieces).decode("utf-8", "backslashreplace"))
            return
    elif sys.stdout.isatty():
        raise CommandError(
            "Parquet is not for a terminal.",
            exit_code=USAGE,
            kind="usage",
            hint="write it to a file:  … > FILE",
        )
    else:
        (statement,) = split(text)[:1]
        pieces = store.raw(statement, "Parquet")
    for piece in pieces:
        write_bytes(piece)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(sql)
