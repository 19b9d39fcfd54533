"""A page of documentation as a program: its ```python and ```console blocks, in their order.

Every block stays on its own lines, so a traceback names the line of the page. In a console block each line
that begins with ``$ `` is a command that must exit 0; the rest is what a reader would see and is not
compared. Blocks of other kinds (```sh, ```text) are not run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\s*$")


@dataclass(frozen=True)
class Page:
    """A page's program: `source` has as many lines as the page; `blocks` says how many it was made of."""

    path: Path
    source: str
    blocks: int


def read_page(path: Path) -> Page:
    """Read `path` as a program. Raises ValueError where a fence is left open."""
    program: list[str] = []
    language: str | None = None
    blocks = 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if fence and language is None:
            language = fence[1]
            blocks += language in ("python", "console")
            program.append("")
        elif fence:
            language = None
            program.append("")
        elif language == "python":
            program.append(line)
        elif language == "console" and line.startswith("$ "):
            program.append(f"run_command({line[2:]!r}, {number})")
        else:
            program.append("")
    if language is not None:
        raise ValueError(f"{path}: a block of {language or 'text'!r} is not closed")
    return Page(path, "\n".join(program) + "\n", blocks)
