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
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)")


@dataclass(frozen=True)
class Page:
    """A page's program, its links to files (with their anchors) and the anchors of its headings.

    `source` has as many lines as the page; `blocks` says of how many blocks it was made.
    """

    path: Path
    source: str
    blocks: int
    links: tuple[tuple[str, str], ...]
    anchors: frozenset[str]


def read_page(path: Path) -> Page:
    """Read `path`. Raises ValueError where a fence is left open."""
    program: list[str] = []
    links: list[tuple[str, str]] = []
    anchors: set[str] = set()
    language: str | None = None
    blocks = 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        code = ""
        if fence:
            language = fence[1] if language is None else None
            blocks += language in ("python", "console")
        elif language == "python":
            code = line
        elif language == "console" and line.startswith("$ "):
            code = f"run_command({line[2:]!r}, {number})"
        elif language is None:
            links += [(target, anchor or "") for target, anchor in LINK.findall(line)]
            if line.startswith("#"):
                anchors.add(_anchor(line))
        program.append(code)
    if language is not None:
        raise ValueError(f"{path}: a block of {language or 'text'!r} is not closed")
    return Page(path, "\n".join(program) + "\n", blocks, tuple(links), frozenset(anchors))


def _anchor(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower())
    return kept.replace(" ", "-")
