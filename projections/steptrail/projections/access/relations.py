"""The tables and views that there are, and which of them each view reads: as the migrations make them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from steptrail.projections.clickhouse.migrate import migrations

MIGRATIONS_TABLE = "schema_migrations"

_CREATE = re.compile(r"CREATE (?:OR REPLACE )?(TABLE|VIEW) (?:IF NOT EXISTS )?(\w+)")
_READ = re.compile(r"\b(?:FROM|JOIN)\s+(\w+)")
_NOT_SQL = re.compile(r"--[^\n]*|'(?:[^'\\]|''|\\.)*'")
_COLUMN = re.compile(r"^    (\w+) +[A-Z]", re.MULTILINE)
_ENGINE = re.compile(r"^ENGINE = (\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Relation:
    """A table or view. `reads` are the relations that a view selects from; `columns` and `engine` are a table's."""

    name: str
    reads: frozenset[str]
    columns: frozenset[str]
    engine: str | None

    @property
    def is_view(self) -> bool:
        """Whether it is a view."""
        return self.engine is None


@cache
def relations() -> Mapping[str, Relation]:
    """All of them by name, in the order in which they are made; of a view that is made again, the last."""
    texts: dict[str, tuple[str, str]] = {}
    for migration in migrations():
        for statement in migration.statements:
            if (made := _CREATE.match(statement)) is not None:
                texts[made[2]] = (made[1], _NOT_SQL.sub("", statement))
    found = {}
    for name, (kind, text) in texts.items():
        if kind == "VIEW":
            reads = frozenset(_READ.findall(text)) & texts.keys() - {name}
            found[name] = Relation(name, reads, frozenset(), None)
        else:
            engine = _ENGINE.search(text)
            found[name] = Relation(
                name, frozenset(), frozenset(_COLUMN.findall(text)), engine[1] if engine else "MergeTree"
            )
    return found


def tables() -> list[str]:
    """The names of the tables, without the views."""
    return [name for name, relation in relations().items() if not relation.is_view]


def with_what_they_read(names: Iterable[str]) -> list[str]:
    """These relations and, of views, all that they read: whoever selects from a view needs the right to both.

    Raises KeyError for a name that no migration makes.
    """
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += relations()[name].reads
    return [name for name in relations() if name in found]
