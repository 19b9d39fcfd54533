"""Expected steps in a TOML file, to be kept beside the pipelines' code.

[expected_steps]
invoices = ["fetch", "ocr", "index"]
"letters/in" = ["scan", "ocr"]
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from steptrail.projections.stores.expected_steps import BadDeclaration, check_declaration
from steptrail.schemas.stored_names import MAX_NAME_BYTES

_TABLE = "expected_steps"


def read_expected_steps(
    path: str | Path, *, max_name_bytes: int = MAX_NAME_BYTES
) -> dict[str, tuple[str, ...]]:
    """The declarations in a file: the steps of each pipeline that it names, for `declare_all`.

    Raises BadDeclaration, which says the file, the line and the key that are wrong, and what is.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise BadDeclaration(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadDeclaration(f"{path} is not UTF-8 at byte {error.start}") from None
    return parse_expected_steps(text, str(path), max_name_bytes=max_name_bytes)


def parse_expected_steps(
    text: str, name: str = "text", *, max_name_bytes: int = MAX_NAME_BYTES
) -> dict[str, tuple[str, ...]]:
    """As `read_expected_steps`, of a text; errors call it `name`."""
    toml = _toml()
    text = text.replace("\r\n", "\n").rstrip() + "\n"
    try:
        found: dict[str, Any] = toml.loads(text)
    except toml.TOMLDecodeError as error:
        raise BadDeclaration(_not_toml(name, text, str(error))) from None
    for key, value in found.items():
        if key != _TABLE or not isinstance(value, dict):
            at = _line(text, key)
            raise BadDeclaration(
                f"{name}, line {at}, key {key!r}: there is one table here, [{_TABLE}], with a list of step names "
                "for each pipeline"
            )
    if not found.get(_TABLE):
        raise BadDeclaration(f"{name} declares nothing: it has no pipelines in a table [{_TABLE}]")
    declared: dict[str, tuple[str, ...]] = {}
    for pipeline, steps in found[_TABLE].items():
        try:
            if isinstance(steps, dict):
                raise BadDeclaration(
                    "expected a list of step names; a pipeline's name with a dot is written in quotes"
                )
            if not isinstance(steps, list):
                raise BadDeclaration(f"expected a list of step names, not {type(steps).__name__}")
            declared[pipeline] = check_declaration(pipeline, steps, max_name_bytes)
        except (BadDeclaration, TypeError) as error:
            at = _line(text, _TABLE, pipeline)
            raise BadDeclaration(f"{name}, line {at}, key {_TABLE}.{pipeline}: {error}") from None
    return declared


def _not_toml(name: str, text: str, message: str) -> str:
    """The parser's message `what (at line 3, column 5)` or `what (at end of document)`, with the line itself."""
    what, _, where = message.rpartition(" (at ")
    lines = text.splitlines()
    at = re.search(r"line (\d+)", where)
    number = min(int(at[1]), len(lines)) if at else len(lines)
    shown = lines[number - 1].strip() if lines else ""
    return f"{name}, line {number}, {shown[:80]!r}: not TOML: {what or message}"


def _line(text: str, *keys: str) -> int:
    """The line on which a key is set first: the one after the longest start of the text that lacks it."""
    toml, lines, before = _toml(), text.split("\n"), 0
    for end in range(1, len(lines) + 1):
        try:
            found: Any = toml.loads("\n".join(lines[:end]) + "\n")
        except toml.TOMLDecodeError:
            continue  # in the middle of a value
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None:
            return before + 1
        before = end
    return before


def _toml() -> Any:
    # The standard library's reader is its namesake on PyPI, which Python 3.10 has to be given.
    return import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
