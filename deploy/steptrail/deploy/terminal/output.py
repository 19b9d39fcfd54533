"""Writing answers: rich tables for people, JSON for programs."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, timezone
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from steptrail.projections.reading.records import StepRecord

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

#: Wide enough for a table when the output is a file or a pipe, where no terminal says its width.
_WIDTH_WITHOUT_TERMINAL = 160


@cache
def stdout() -> Console:
    """The console that answers are written to."""
    from rich.console import Console

    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(highlight=False, width=_WIDTH_WITHOUT_TERMINAL if piped else None)


@cache
def stderr() -> Console:
    """The console for notes beside the answer, kept out of a pipe."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def note(text: str) -> None:
    """A remark beside the answer, on standard error, never read as markup."""
    stderr().print(text, style="dim", markup=False)


def write_json(value: Any) -> None:
    """`value` as one line of JSON on standard output; see `json_ready` for what becomes of its values."""
    sys.stdout.write(json.dumps(json_ready(value), ensure_ascii=False) + "\n")


def write_json_lines(rows: Iterable[Any]) -> None:
    """One JSON object a line."""
    for row in rows:
        write_json(row)


def json_ready(value: Any) -> Any:
    """`value` in JSON's types: times as ISO 8601 in UTC, enums by value, NaN and infinities as text."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return str(value.value) if isinstance(value, Enum) else value
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return aware.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [json_ready(item) for item in value]
    return str(value)


def record_json(record: StepRecord) -> dict[str, Any]:
    """An event for JSON: its fields by name, its cursor as the text that --after takes."""
    return {**asdict(record), "cursor": str(record.cursor)}


def plain(value: Any) -> str:
    """`value` as a table cell or a CSV field shows it."""
    if value is None:
        return ""
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(json_ready(value), ensure_ascii=False)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="milliseconds" if value.microsecond else "seconds")
    return str(json_ready(value))


def status_text(status: str) -> Text:
    """A status in its colour."""
    from rich.text import Text

    return Text(status, style=STATUS_STYLES.get(status, ""))


def table(*columns: str, title: str | None = None, right: Sequence[str] = ()) -> Table:
    """An empty table with these columns; those in `right` are aligned to the right and never wrapped."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        numeric = column in right
        made.add_column(column, justify="right" if numeric else "left", no_wrap=numeric, overflow="fold")
    return made


def cells(*values: Any) -> list[Text]:
    """Values as cells that are shown as they are: brackets in data are never read as markup."""
    from rich.text import Text

    return [value if isinstance(value, Text) else Text(plain(value)) for value in values]
