"""Tables: which columns stand side by side, and what goes under the row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from steptrail.deploy.terminal.values import plain
from steptrail.deploy.terminal.visible import distinct, visible

_GAP = 2
_USUAL_WIDTH = 76
_LEAST_WORDS = 32
_LEAST_ELLIPSIS = 12
_INDENT = 4
#: A value is cut where only a program would still want it, in a pipe too; --json has it whole.
LONGEST = 4_000
#: Cells longer than this do not widen a piped column for all the others.
_WIDEST_PIPED = 60
# Words, each with the space before it. Commands in backticks are not broken; wide characters may be, anywhere.
_WORD = re.compile(r" *(?:`[^`\n]{1,100}`[^\s\u1100-\uffff]*|[^\s\u1100-\uffff]+|[\u1100-\uffff])|\s")


class Styled(NamedTuple):
    """A text, rich's name of a style for it, and how many characters of it were left out."""

    text: str
    style: str = ""
    more: int = 0


Line = list[Styled]


@dataclass(frozen=True)
class Column:
    """A column: its name, how long it stays next to the others, and what becomes of a cell that is too wide.

    `priority` 1 stays longest; where a line is too narrow the column with the highest number goes under the row
    first, the rightmost of several. `wrap`: `never` keeps a cell whole, on a line of its own if need be (ids,
    times, numbers); `words` breaks between words, into at most `lines` lines (sentences, messages), and has its
    name before it under a row if `label`; `ellipsis` cuts at the end, for what is only good to be recognised.
    `unless_same` leaves the column out on a terminal where all rows have the same value; a value that is the `usual`
    one is not repeated there under each row.
    """

    name: str
    priority: int = 1
    wrap: Literal["never", "words", "ellipsis"] = "never"
    right: bool = False
    min_width: int = _LEAST_WORDS
    lines: int = 4
    label: bool = False
    unless_same: bool = False
    usual: str = ""


@dataclass
class Table:
    """Rows under columns. `title` stands above; without a `header` the columns' names are not shown."""

    columns: Sequence[Column]
    title: str | None = None
    header: bool = True
    verbatim: bool = False  #: column names come from outside and are shown as they are
    rows: list[list[Styled]] = field(default_factory=list)

    def add(self, *values: Any) -> None:
        """Add a row, a value for each column, in any type; a Styled has its colour."""
        row = []
        for column, value in zip(self.columns, values, strict=True):
            text, style, _ = value if isinstance(value, Styled) else Styled(plain(value))
            shown = (_prose if column.wrap == "words" else distinct)(text[:LONGEST])
            row.append(Styled(shown, style, max(0, len(text) - LONGEST)))
        self.rows.append(row)


def piped(table: Table) -> Iterator[Line]:
    """The lines of `table` for a file or a pipe: one a row, every column, two spaces or more between them.

    An empty cell is a dash, so that a field keeps its number.
    """
    rows = [[_on_one_line(cell) for cell in row] for row in table.rows]
    heads = [_heading(table, column) for column in table.columns]
    if table.header:
        rows.insert(0, heads)
    widths = [
        max((size for row in rows if (size := cells(row[at])) <= _WIDEST_PIPED), default=0)
        for at in range(len(table.columns))
    ]
    for row in rows:
        yield [Styled(_joined(table.columns, row, widths))]


def on_terminal(table: Table, width: int) -> Iterator[Line]:
    """The lines of `table` in `width` columns: what fits side by side, the rest indented under its row.

    A value that is never broken and wider than the terminal runs on, and the terminal folds it; so it can be copied.
    """
    wanted = [at for at in range(len(table.columns)) if _is_needed(table, at)]
    beside, widths = _beside(table, wanted, width)
    if table.header:
        heads = [_heading(table, table.columns[at]) for at in beside]
        yield [Styled(_joined([table.columns[at] for at in beside], heads, widths), "bold")]
    for row in table.rows:
        yield from _row(table, row, wanted, beside, widths, width)


def fold(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns, broken between words only."""
    return [text[begin:end].rstrip(" ") for begin, end in _folds(text, width)]


def _folds(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Where each line of `fold` begins and ends."""
    begin, size = 0, 0
    for word in _WORD.finditer(text):
        if word[0] == "\n":
            yield begin, word.start()
            begin, size = word.end(), 0
            continue
        wide = cells(word[0])
        if size and size + wide > width:
            yield begin, word.start()
            begin = word.start() + len(word[0]) - len(word[0].lstrip(" "))
            size = word.start() - begin
        size += wide
    yield begin, len(text)


def cells(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _prose(text: str) -> str:
    """A message: lines stay lines, tabs become spaces."""
    return visible(text.replace("\r\n", "\n").replace("\t", " ").strip("\n"), keep="\n")


def _on_one_line(cell: Styled) -> str:
    return cell.text.replace("\n", "\\n") + left_out(cell.more) or "-"


def left_out(count: int) -> str:
    """The remark for so many characters that are not shown; empty for none."""
    return f" … ({count:,} more characters)" if count else ""


def _heading(table: Table, column: Column) -> str:
    return distinct(column.name) if table.verbatim else column.name.upper()


def _is_needed(table: Table, at: int) -> bool:
    """Whether a terminal's reader learns something from the column."""
    column = table.columns[at]
    if not table.rows or table.verbatim:
        return True
    seen = {row[at].text for row in table.rows} - {""}
    return len(seen) > 1 if column.unless_same else not seen <= {column.usual}


def _beside(table: Table, wanted: Sequence[int], width: int) -> tuple[list[int], list[int]]:
    """The columns that stand side by side, and their widths."""
    most = max(24, width // 2)  # a single long id does not push the whole column out
    needs: dict[int, int] = {}
    beside = list(wanted)
    for at in wanted:
        column = table.columns[at]
        sizes = _sizes(table, at)
        head = cells(_heading(table, column)) if table.header else 0
        if column.wrap == "words":
            least = max(column.min_width, width // 3 if column.min_width == _LEAST_WORDS else 0)
            needs[at] = max(head, min(max(sizes, default=0), least))
            continue
        if column.wrap == "ellipsis":
            needs[at] = max(head, min(max(sizes, default=0), _LEAST_ELLIPSIS))
            continue
        short = [size for size in sizes if size <= most]
        needs[at] = max([head, *short, 20 if len(short) < len(sizes) else 0])
        if len(short) * 2 < len(sizes) and len(beside) > 1:
            beside = [each for each in beside if each != at and not _is_after(table.columns[each], column)]
    while len(beside) > 1 and sum(needs[at] + _GAP for at in beside) - _GAP > width:
        beside.remove(max(beside, key=lambda at: (table.columns[at].priority, at)))
    left = width + _GAP - sum(needs[at] + _GAP for at in beside)
    for at in beside:
        more = max(0, min(left, max(_sizes(table, at), default=0) - needs[at]))
        needs[at], left = needs[at] + more, left - more
    return beside, [needs[at] for at in beside]


def _is_after(one: Column, other: Column) -> bool:
    """Whether `one` is a sentence that is read after `other`."""
    return one.wrap == "words" and one.priority > other.priority


def _sizes(table: Table, at: int) -> list[int]:
    """How wide each line of the column's cells is."""
    return [cells(line) for row in table.rows for line in row[at].text.split("\n")]


def _row(
    table: Table,
    row: Sequence[Styled],
    wanted: Sequence[int],
    beside: Sequence[int],
    widths: Sequence[int],
    width: int,
) -> Iterator[Line]:
    """A row's lines: the cells side by side, then what is under them."""
    stacks: list[list[str]] = []
    under: list[int] = [at for at in wanted if at not in beside]
    for at, size in zip(beside, widths, strict=True):
        cell, column = row[at], table.columns[at]
        if column.wrap == "words" and len(wanted) > 1 and any(cells(w) > size for w in cell.text.split()):
            stacks.append([""])
            under.append(at)
        elif column.wrap == "words":
            stacks.append(_bounded(cell, size, column.lines))
        elif cells(cell.text) > size and len(wanted) > 1:
            stacks.append([_beginning(cell.text, size)])
            under += [at] if column.wrap == "never" else []
        else:
            stacks.append([cell.text + left_out(cell.more)])
    columns = [table.columns[at] for at in beside]
    for number in range(max(map(len, stacks))):
        layer = [stack[number] if number < len(stack) else "" for stack in stacks]
        yield _styled(columns, [row[at].style for at in beside], layer, widths)
    yield from _under(table, row, under, width)


def _under(table: Table, row: Sequence[Styled], under: Sequence[int], width: int) -> Iterator[Line]:
    """Short values with their names, as many as fit in a line; then the sentences."""
    line: Line = []
    used = _INDENT
    for at in (
        at
        for at in under
        if table.columns[at].wrap == "never" and row[at].text not in ("", table.columns[at].usual)
    ):
        value = Styled(row[at].text + left_out(row[at].more), row[at].style)
        pair = [Styled(f"{visible(table.columns[at].name)} ", "dim"), value]
        size = sum(cells(part.text) for part in pair)
        if line and used + 3 + size > width:
            yield [Styled(" " * _INDENT), *line]
            line, used = [], _INDENT
        if line:
            line, used = [*line, Styled(" · ", "dim")], used + 3
        line, used = [*line, *pair], used + size
    if line:
        yield [Styled(" " * _INDENT), *line]
    for at in (at for at in under if table.columns[at].wrap == "words" and row[at].text):
        text = (
            f"{visible(table.columns[at].name)}: {row[at].text}" if table.columns[at].label else row[at].text
        )
        cell = row[at]._replace(text=text)
        for part in _bounded(cell, max(width - _INDENT, 1), table.columns[at].lines):
            yield [Styled(" " * _INDENT), Styled(part, row[at].style)]


def _bounded(cell: Styled, width: int, lines: int) -> list[str]:
    """A message in at most `lines` lines, more if they are narrow; one shows how many characters are left out."""
    text, room, shown_to = cell.text, max(width, _USUAL_WIDTH) * lines, 0
    shown: list[str] = []
    for begin, end in _folds(text, width):
        line = text[begin:end].rstrip(" ")
        if room < width:
            break
        if cells(line) > room:  # a single word that is longer than all the lines
            line = _beginning(line, room)
            end = begin + len(line) - 1
        shown.append(line)
        room -= max(width, cells(line))
        shown_to = end
    left = cell.more + len(text) - shown_to
    return [*shown, left_out(left).strip()] if left else shown


def _beginning(text: str, size: int) -> str:
    """The beginning of `text` in `size` columns, with an ellipsis."""
    short = text[: size - 1]
    while cells(short) > size - 1:
        short = short[:-1]
    return short + "…"


def _styled(
    columns: Sequence[Column], styles: Sequence[str], texts: Sequence[str], widths: Sequence[int]
) -> Line:
    line: Line = []
    last = max((at for at, text in enumerate(texts) if text), default=0)
    for at in range(last + 1):
        space = " " * max(0, widths[at] - cells(texts[at]))
        if columns[at].right:
            line.append(Styled(space))
        line.append(Styled(texts[at], styles[at]))
        if at < last:
            line.append(Styled(" " * _GAP if columns[at].right else space + " " * _GAP))
    return line


def _joined(columns: Sequence[Column], texts: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(part.text for part in _styled(columns, [""] * len(columns), texts, widths))
