"""Writing answers: tables and sentences for people, JSON and CSV for programs.

The only way from a command to its output. Every text is made visible here, before it gets its colour.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TextIO

from steptrail.deploy.terminal.guard import unguarded
from steptrail.deploy.terminal.layout import (
    LONGEST,
    Column,
    Line,
    Styled,
    Table,
    fold,
    left_out,
    on_terminal,
    piped,
)
from steptrail.deploy.terminal.values import json_ready, plain
from steptrail.deploy.terminal.visible import visible, visible_json

if TYPE_CHECKING:
    from rich.console import Console

    from steptrail.projections.reading.records import StepRecord

__all__ = [
    "Column",
    "Styled",
    "Table",
    "console",
    "json_ready",
    "note",
    "plain",
    "record_json",
    "say",
    "show",
    "show_lines",
    "status_text",
    "tell",
    "write_bytes",
    "write_csv",
    "write_json",
    "write_json_lines",
]

STATUS_STYLES = {
    "PENDING": "dim",
    "RUNNING": "cyan",
    "SUCCESS": "green",
    "WARNING": "yellow",
    "ERROR": "red",
    "FAILED": "bold red",
    "SKIPPED": "dim",
    "STALLED": "bold magenta",
}

#: How a cell may begin that a spreadsheet takes for a formula, fullwidth forms among them.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NARROWEST = 20


def say(*parts: str | Styled, style: str = "", folded: bool = True) -> None:
    """A line of the answer on standard output, on a terminal folded between words unless it is to be copied whole."""
    line = [_part(part, style) for part in parts]
    if folded:
        _write_folded(sys.stdout, line)
    else:
        _write_lines(sys.stdout, [line])


def note(text: str) -> None:
    """A remark on standard error, apart from the answer."""
    _write_folded(sys.stderr, [Styled(_sentence(text), "dim")])


def tell(label: str, style: str, text: str) -> None:
    """A remark with a label such as `error:` on standard error; further lines of `text` stand under the first."""
    for number, line in enumerate(_sentence(text.rstrip("\n"), keep="\n").split("\n")):
        head = Styled(label.ljust(7), style) if number == 0 else Styled(" " * 7)
        _write_folded(sys.stderr, [head, Styled(line)], indent=7)


def show(table: Table, *, first: bool = False) -> None:
    """A table on standard output: laid out for the terminal's width, else one row a line.

    A title stands after an empty line, unless it is the `first` thing shown.
    """
    stream = sys.stdout
    if table.title is not None:
        _write_lines(stream, [[], [Styled(visible(table.title), "bold")]][first:])
    lines = on_terminal(table, width(stream)) if stream.isatty() else piped(table)
    _write_lines(stream, lines)


def show_lines(lines: Iterable[Line]) -> None:
    """Lines of visible text on standard output, as they are."""
    _write_lines(sys.stdout, lines)


def write_json(value: Any, stream: TextIO | None = None) -> None:
    """`value` as one line of JSON, on standard output; see `json_ready` for what becomes of its values."""
    document = json.dumps(json_ready(value), ensure_ascii=False)
    (stream or sys.stdout).write(visible_json(document) + "\n")


def write_json_lines(rows: Iterable[Any]) -> None:
    """One JSON object a line."""
    for row in rows:
        write_json(row)


def write_csv(names: Sequence[str], rows: Iterable[Sequence[Any]], *, raw: bool = False) -> None:
    """CSV with a header on standard output, bytes as they are but on a terminal.

    Text that a spreadsheet would take for a formula gets an apostrophe before it, unless `raw`; numbers stay numbers.
    """
    to_terminal = sys.stdout.isatty()

    def cell(value: Any) -> str:
        text = plain(value)
        if not raw and not isinstance(value, (int, float, Decimal)) and text.startswith(_FORMULA):
            text = "'" + text
        return visible(text, keep="\n") if to_terminal else text

    for row in ([*names], *rows):
        line = io.StringIO()
        # Only what is in the line terminator is quoted, and a bare CR begins a row for most readers.
        csv.writer(line, lineterminator="\r\n").writerow([cell(value) for value in row])
        sys.stdout.write(line.getvalue().removesuffix("\r\n") + "\n")


def write_bytes(data: bytes) -> None:
    """Bytes as they are on standard output, which is no terminal: the caller has looked."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def record_json(record: StepRecord) -> dict[str, Any]:
    """An event for JSON: its fields by name, its cursor as the text that --after takes."""
    return {**asdict(record), "cursor": str(record.cursor)}


def status_text(status: str) -> Styled:
    """A status in its colour."""
    return Styled(status, STATUS_STYLES.get(status, ""))


def console(stream: TextIO) -> Console:
    """A console on `stream` past its guard: what is printed on it must be visible text."""
    from rich.console import Console

    return Console(file=unguarded(stream), highlight=False, markup=False, emoji=False)


def width(stream: TextIO) -> int:
    """The terminal's columns: COLUMNS, else what it reports, else 80."""
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return max(int(told), _NARROWEST)
    try:
        return max(os.get_terminal_size(stream.fileno()).columns or 80, _NARROWEST)
    except OSError:  # it cannot tell
        return 80


def _part(part: str | Styled, style: str) -> Styled:
    text, style, _ = part if isinstance(part, Styled) else Styled(part, style)
    return Styled(_sentence(text), style)


def _sentence(text: str, keep: str = "") -> str:
    """`text` made visible; the end of one that is huge is left out and counted."""
    return visible(text[:LONGEST], keep=keep) + left_out(max(0, len(text) - LONGEST))


def _write_folded(stream: TextIO, parts: Sequence[Styled], indent: int = 0) -> None:
    """One line, or on a terminal as many as it takes."""
    text = "".join(part.text for part in parts)
    room = width(stream) if stream.isatty() else sys.maxsize
    indent = indent or len(text) - len(text.lstrip(" "))
    first = fold(text[indent:], room - indent)
    _write_lines(stream, _coloured(text, indent, first, parts))


def _coloured(text: str, indent: int, lines: Sequence[str], parts: Sequence[Styled]) -> Iterable[Line]:
    """`lines`, which are `text` after `indent` in pieces, with the styles of `parts`; the first with the indent."""
    styles = [part.style for part in parts for _ in part.text]
    at = indent
    for number, line in enumerate(lines):
        at = text.index(line, at)
        made = [
            Styled(
                text[:indent] if number == 0 else " " * indent, styles[0] if number == 0 and styles else ""
            )
        ]
        for character, style in zip(line, styles[at:], strict=False):
            if made[-1].style == style:
                made[-1] = Styled(made[-1].text + character, style)
            else:
                made.append(Styled(character, style))
        at += len(line)
        yield made


def _write_lines(stream: TextIO, lines: Iterable[Line]) -> None:
    if not stream.isatty():
        stream.writelines("".join(part.text for part in line).rstrip() + "\n" for line in lines)
        return
    from rich.text import Text

    out = console(stream)
    for line in lines:
        text = Text.assemble(*((part.text, part.style) for part in line))
        text.rstrip()
        out.print(text, soft_wrap=True)
