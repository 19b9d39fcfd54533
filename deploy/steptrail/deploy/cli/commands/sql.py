"""`steptrail sql`: a query and its answer."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steptrail.deploy.cli.reader_login import login_for_reading
from steptrail.deploy.terminal.failures import REFUSED, USAGE, CommandError
from steptrail.deploy.terminal.numbers import counted
from steptrail.deploy.terminal.options import Json, StackDir, settings_for
from steptrail.deploy.terminal.output import Column, Table, note, plain, show, write_csv, write_json_lines

if TYPE_CHECKING:
    from collections.abc import Sequence


#: Text longer than this is broken between words; of a very long one so many lines are shown.
_SHORT = 40
_LINES = 12


def sql(
    query: Annotated[str, typer.Argument(help="The query; - reads it from standard input.")],
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, help="Show at most so many rows; 0 for all of them.")
    ] = 1000,
    json: Json = False,
    csv: Annotated[
        bool,
        typer.Option(
            "--csv", help="Write CSV with a header, text that reads as a formula with a ' before it."
        ),
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="With --csv: leave all text as it is.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Let the statement write, as the user that the settings name.")
    ] = False,
    directory: StackDir = None,
) -> None:
    """Run a query in ClickHouse and show its answer.

    It only reads: on the local stack as the user `reader`, who has bounds of time, memory and rows; elsewhere as the
    user that the settings name, with ClickHouse's readonly. --write takes that user's rights. docs/sql.md tells of
    every table. With --json one object a line.

    \b
    steptrail sql "SELECT step_name, status, count() FROM steps GROUP BY ALL ORDER BY ALL"
    steptrail sql "SELECT * FROM step_state WHERE status = 'RUNNING' ORDER BY started_at" --csv
    steptrail sql "DESCRIBE steps"
    """
    if json and csv:
        raise CommandError("--json and --csv exclude each other.", exit_code=USAGE, kind="usage")
    if raw and not csv:
        raise CommandError("--raw goes with --csv only.", exit_code=USAGE, kind="usage")
    text = sys.stdin.read() if query == "-" else query
    if not text.strip(" \n\t;"):
        raise CommandError("the query is empty.", exit_code=USAGE, kind="usage")

    names, rows = _ask(text, limit, directory, write=write)
    cut = bool(limit) and len(rows) > limit
    rows = rows[:limit] if cut else rows
    if json:
        write_json_lines(dict(zip(names, row, strict=True)) for row in rows)
    elif csv:
        write_csv(names, rows, raw=raw)
    elif "query_id" in names and "written_rows" in names:
        note("done")  # a statement without an answer: the library gives its statistics in place of one
    else:
        _show(names, rows)
    if cut:
        note(f"The first {counted(limit, 'row')}; there are more: --limit 0 shows all of them.")


def _ask(
    text: str, limit: int, directory: Any, *, write: bool
) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
    """Column names and rows of the answer, one row more than `limit` when there are more."""
    from contextlib import closing

    from steptrail.projections.clickhouse.client import ClickHouse
    from steptrail.projections.clickhouse.errors import QueryError, StoreRefused

    settings = settings_for(directory)
    target, kept = (settings.clickhouse_target(), {}) if write else login_for_reading(settings)
    # `break` ends the answer at the first block that passes the bound, so a careless SELECT * stays cheap.
    bounds = {"max_result_rows": limit + 1, "result_overflow_mode": "break"} if limit else {}
    with closing(ClickHouse(target)) as clickhouse:
        try:
            return clickhouse.table(text, settings={**bounds, **kept})
        except (QueryError, StoreRefused) as error:
            if isinstance(error, StoreRefused) and error.code not in _OF_THE_QUERY:
                raise
            raise refused(error) from error


# The store refuses these, and another query would do: too slow, not for this user, too much memory.
_OF_THE_QUERY = (159, 164, 241, 497)
_SERVER_PREFIX = re.compile(r"^.*?(?:DB::Exception: )", re.DOTALL)
_SERVER_TAIL = re.compile(
    r"(?:\s*\([A-Z_]{3,}\))?(?:\s*\((?:version |for url |official build).*)?$", re.DOTALL
)

# The client library adds FORMAT Native; a query that is cut short fails there, at words that nobody wrote.
_CUT_SHORT = re.compile(r"failed at position \d+ \((?:Native|end of query)\)[^:]*: (?:Native)?\.?")
_EXPECTED = re.compile(r"Expected one of: (.{160}).+", re.DOTALL)


def refused(error: Any) -> CommandError:
    """The server's complaint, without its stack trace, its version and our address around it."""
    text = (
        _SERVER_TAIL.sub("", _SERVER_PREFIX.sub("", str(error)), count=1)
        .replace("\n FORMAT Native", "")
        .strip()
    )
    text = _EXPECTED.sub(r"Expected one of: \1 …", _CUT_SHORT.sub("the query ends too early.", text))
    if len(text) > 1200:
        text = text[:1200].rstrip() + " …"
    code = f" (code {error.code}{f', {error.name}' if error.name else ''})" if error.code else ""
    hints = {
        60: "`steptrail sql 'SHOW TABLES'` lists the tables; `steptrail migrate` creates steptrail's.",
        47: "`steptrail sql 'DESCRIBE steps'` lists the columns with what they mean.",
        81: "`steptrail migrate` creates the database.",
        159: "a shorter time range, or --write, which has no bound of time.",
        164: "this user only reads: --write takes the rights of the user that the settings name.",
        241: "fewer rows or groups, or --write, which has the bound of the whole store.",
        396: "a LIMIT, or --write, which has no bound of rows.",
    }
    return CommandError(
        f"ClickHouse refused the query{code}: {text}",
        exit_code=REFUSED,
        kind="query_refused",
        hint=hints.get(error.code or 0),
    )


def _show(names: Sequence[str], rows: list[tuple[Any, ...]]) -> None:
    columns = []
    for index, name in enumerate(names):
        texts = [plain(row[index]) for row in rows]
        if rows and all(isinstance(row[index], (int, float, type(None))) for row in rows):
            columns.append(Column(name, right=True))
        elif any(len(text) > _SHORT and " " in text for text in texts):
            columns.append(Column(name, 2, wrap="words", lines=_LINES, label=True))
        else:
            columns.append(Column(name))
    table = Table(columns, verbatim=True)
    for row in rows:
        table.add(*row)
    show(table)
    note(counted(len(rows), "row"))


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(sql)
