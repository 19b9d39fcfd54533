"""Parses TOML with the line of every key, so that errors in values can be located."""

from __future__ import annotations

import importlib
import re
import sys
from typing import Any

Keys = tuple[str | int, ...]
"""Keys from the outside in; an entry of an array of tables by its number, from 0."""

# Python 3.10 lacks the standard library's parser and uses its equivalent from PyPI.
_toml: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_TABLE = re.compile(rf"^\s*(\[\[?)\s*({_DOTTED})\s*\]\]?")
_KEY = re.compile(rf"^\s*({_DOTTED})\s*=\s*(.*)$")
_INLINE = re.compile(rf"[{{,]\s*({_DOTTED})\s*=")


class NotToml(ValueError):
    """The text is not valid TOML; `line` counts from 1, None if the parser does not report it."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


def read_toml(text: str) -> tuple[dict[str, Any], dict[Keys, int]]:
    """The document, and the line of each key as far as a line scan can tell. Raises NotToml."""
    try:
        document = _toml.loads(text)
    except ValueError as error:  # TOMLDecodeError, or a number that Python refuses to read
        found = re.search(r"line (\d+)", str(error))
        last = text.rstrip().count("\n") + 1 if "end of document" in str(error) else None
        raise NotToml(f"is not TOML: {error}", int(found[1]) if found else last) from error
    except RecursionError as error:
        raise NotToml("is nested too deeply", None) from error
    return document, _lines(text)


def _lines(text: str) -> dict[Keys, int]:
    lines: dict[Keys, int] = {}
    counts: dict[Keys, int] = {}
    table: Keys = ()
    quotes = ""
    for number, line in enumerate(text.split("\n"), 1):
        if quotes:
            quotes = "" if quotes in line else quotes
            continue
        if header := _TABLE.match(line):
            table = _resolved(_split(header[2]), counts)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            _mark(lines, table, number)
        elif key := _KEY.match(line):
            path = (*table, *_split(key[1]))
            _mark(lines, path, number)
            value = key[2].strip()
            for inner in _INLINE.finditer(value) if value.startswith("{") else ():
                _mark(lines, (*path, *_split(inner[1])), number)
            opened = next((q for q in ('"""', "'''") if value.startswith(q)), "")
            quotes = opened if opened and value.count(opened) == 1 else ""
    return lines


def _mark(lines: dict[Keys, int], path: Keys, number: int) -> None:
    for length in range(1, len(path) + 1):
        lines.setdefault(path[:length], number)


def _split(dotted: str) -> Keys:
    return tuple(part.strip("\"'") for part in re.findall(_PART, dotted))


def _resolved(path: Keys, counts: dict[Keys, int]) -> Keys:
    """`path` with the current entry's index after each array of tables."""
    whole: Keys = ()
    for place, part in enumerate(path):
        whole = (*whole, part)
        if whole in counts and place < len(path) - 1:
            whole = (*whole, counts[whole])
    return whole
