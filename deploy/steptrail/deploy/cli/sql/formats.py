"""An answer in each of the formats of `steptrail sql`."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

from steptrail.deploy.cli.sql.statements import has_rows
from steptrail.deploy.terminal.layout import (
    LONGEST,
    Column,
    Line,
    Styled,
    Table,
    cells,
    left_out,
    on_terminal,
)
from steptrail.deploy.terminal.output import plain, show, show_lines, width, write_csv, write_json_lines
from steptrail.deploy.terminal.visible import distinct, visible

#: Text longer than this is broken between words; of a very long one so many lines are shown.
_SHORT = 40
_LINES = 12

Row = tuple[Any, ...]


class Format(str, Enum):
    """What an answer is written as."""

    TABLE = "table"
    VERTICAL = "vertical"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


def is_done(names: Sequence[str], statement: str) -> bool:
    """Whether a statement had no answer: the client library gives its statistics in place of one, or nothing."""
    if not names:
        return not has_rows(statement)
    return "query_id" in names and "written_rows" in names


def write(form: Format, names: Sequence[str], rows: Sequence[Row], *, raw: bool = False) -> None:
    """Write an answer to standard output. `raw`: CSV without a mark before what reads as a formula."""
    if form is Format.JSON:
        write_json_lines(dict(zip(names, row, strict=True)) for row in rows)
    elif form is Format.CSV:
        write_csv(names, rows, raw=raw)
    elif form is Format.VERTICAL:
        show_lines(vertical(names, rows))
    elif names:
        show(table_of(names, rows))


def as_text(form: Format, names: Sequence[str], rows: Sequence[Row], *, raw: bool = False) -> str:
    """What `write` shows on the terminal, as plain visible text."""
    if form is Format.TABLE and names:
        lines: Iterator[Line] = on_terminal(table_of(names, rows), width(sys.stdout))
        return "".join("".join(part.text for part in line).rstrip() + "\n" for line in lines)
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        write(form, names, rows, raw=raw)
    return visible(text.getvalue(), keep="\n")


def table_of(names: Sequence[str], rows: Sequence[Row]) -> Table:
    """Numbers on the right, long text broken between words, all else whole."""
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
    return table


def vertical(names: Sequence[str], rows: Sequence[Row]) -> Iterator[Line]:
    """Each row as a block, a column a line."""
    heads = [distinct(name) for name in names]
    widest = max(map(cells, heads), default=0)
    for number, row in enumerate(rows, 1):
        yield [Styled(f"row {number}", "dim")]
        for head, value in zip(heads, row, strict=True):
            text = plain(value)
            lines = visible(text[:LONGEST], keep="\n").split("\n")
            lines[-1] += left_out(max(0, len(text) - LONGEST))
            yield [Styled(head + " " * (widest - cells(head)) + "  ", "bold"), Styled(lines[0])]
            for line in lines[1:]:
                yield [Styled(" " * (widest + 2) + line)]
