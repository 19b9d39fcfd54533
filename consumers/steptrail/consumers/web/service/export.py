"""Lists as files: page after page, as JSON lines or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal

import orjson

from steptrail.consumers.web.models.common import Answer

ListFormat = Literal["jsonl", "csv"]
MEDIA_TYPES: Final = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
PAGE: Final = 500
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def rows(first: Answer, further: Callable[[str], Answer]) -> Iterator[dict[str, Any]]:
    """The items of a list from its first page on, each as plain values."""
    page = first
    while True:
        for item in page.items:  # type: ignore[attr-defined]
            yield item.model_dump(mode="json")
        following = getattr(page, "next", None)
        if following is None:
            return
        page = further(following)


def names_of(answer: Answer) -> list[str]:
    """The names of the fields of a list's items, in their order."""
    annotation: Any = type(answer).model_fields["items"].annotation
    return list(annotation.__args__[0].model_fields)


def written(items: Iterator[dict[str, Any]], form: ListFormat, names: Sequence[str]) -> Iterator[bytes]:
    """The items, whose fields have these names, as a file in pieces."""
    return _json_lines(items) if form == "jsonl" else _csv(items, names)


def _json_lines(items: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    for item in items:
        yield orjson.dumps(item, option=orjson.OPT_APPEND_NEWLINE)


def _csv(items: Iterator[dict[str, Any]], names: Sequence[str]) -> Iterator[bytes]:
    """With a line of names; what is nested is JSON. A text that a spreadsheet would take for a formula gets a quote."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(names)
    for item in items:
        writer.writerow([_cell(item[name]) for name in names])
        yield buffer.getvalue().encode("utf-8", "replace")
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return orjson.dumps(value).decode()
    if isinstance(value, str):
        text = value.replace("\x00", "�")
        return f"'{text}" if text.startswith(_FORMULA) else text
    return value
