"""The reader's statements, kept as SQL beside this file; values reach them only as bound parameters."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

_INCLUDE = "-- include: "


@cache
def query(name: str) -> str:
    """The statement in `sql/<name>.sql`, with `-- include: other` lines replaced by `sql/<other>.sql`."""
    lines: list[str] = []
    for line in (files("steptrail.projections") / "sql" / f"{name}.sql").read_text(encoding="utf-8").splitlines():
        start, include, other = line.partition(_INCLUDE)
        lines.append(query(other.strip()) if include and not start.strip() else line)
    return "\n".join(lines)
