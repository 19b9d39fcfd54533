"""Documents listed in a file: one a line, by name or as a JSON object."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from steptrail.deploy.terminal.failures import USAGE, CommandError

MOST = 1_000_000


def read_documents(path: Path, pipeline: str) -> list[tuple[str, str]]:
    """Pipeline and id of each document in a file, `-` for standard input; `pipeline` is that of lines that name none.

    Raises CommandError (exit 2), which names the line of the first mistake.
    """
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise _bad(f"cannot read {str(path)!r}: {error.strerror or error}.") from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _bad(f"{path}, line {line}: no UTF-8.") from None
    found = []
    # Only line ends: a document's name may hold any other character.
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        name = line.removesuffix("\r")
        if not name.strip():
            continue
        found.append(_document(name, pipeline, f"{path}, line {number}"))
        if len(found) > MOST:
            raise _bad(f"{path} names more than {MOST:,} documents: erase them in several runs.")
    if not found:
        raise _bad(f"{path} names no document.")
    return found


def _document(line: str, pipeline: str, where: str) -> tuple[str, str]:
    if not line.lstrip().startswith("{"):
        return pipeline, line
    try:
        value: Any = json.loads(line)
    except ValueError as error:
        raise _bad(f"{where}: begins as a JSON object and is none: {error}.") from None
    doc_id, of = value.get("doc_id"), value.get("pipeline", pipeline)
    if not isinstance(doc_id, str) or not doc_id or not isinstance(of, str) or not of:
        raise _bad(f"{where}: doc_id, and pipeline if it is there, must be names.")
    return of, doc_id


def _bad(message: str) -> CommandError:
    return CommandError(
        message,
        exit_code=USAGE,
        kind="bad_file",
        hint='write one document a line, or JSON objects such as {"doc_id": "invoice-17"}.',
    )
