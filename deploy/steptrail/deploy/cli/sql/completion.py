"""Completion of what a store has: tables, their columns, functions, keywords."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from steptrail.deploy.cli.sql.formats import Format
from steptrail.deploy.cli.sql.statements import words
from steptrail.deploy.cli.sql.store import Store
from steptrail.deploy.terminal.failures import CommandError
from steptrail.deploy.terminal.visible import is_visible
from steptrail.schemas.errors import SteptrailError

_COLUMNS = """
SELECT if(database = currentDatabase(), table, concat(database, '.', table)), name FROM system.columns
WHERE database IN (currentDatabase(), 'system') ORDER BY database = 'system', table, position
"""
_FUNCTIONS = "SELECT name FROM system.functions ORDER BY name"
_KEYWORDS = "SELECT DISTINCT arrayJoin(splitByChar(' ', keyword)) AS word FROM system.keywords ORDER BY word"

_BEFORE_TABLES = {"FROM", "JOIN", "INTO", "TABLE", "DESCRIBE", "DESC", "EXISTS", "UPDATE"}
_TYPED = re.compile(r"[\w.`]*\Z")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?\Z")
#: Words that follow a table's name and are no alias of it.
_NO_ALIAS = {"FINAL", "WHERE", "PREWHERE", "GROUP", "ORDER", "LIMIT", "JOIN", "ON", "USING", "SAMPLE", "SETTINGS",
             "FORMAT", "UNION", "LEFT", "INNER", "ANY", "ALL", "ASOF", "HAVING", "FULL", "CROSS", "RIGHT"}  # fmt: skip


@dataclass
class Names:
    """What can be named: each table's columns, functions, keywords."""

    tables: dict[str, list[str]] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)


def names_of(store: Store) -> Names:
    """What the store has and its user may use; a part that cannot be had is empty. Raises nothing."""
    found = Names()
    for table, column in _asked(store, _COLUMNS):
        found.tables.setdefault(table, []).append(column)
    found.functions = [name for (name,) in _asked(store, _FUNCTIONS)]
    found.keywords = [word for (word,) in _asked(store, _KEYWORDS)]
    if not store.write and store.user == "reader":
        from steptrail.deploy.engine.reader import functions

        found.functions = [name for name in found.functions if name in functions()]
    return found


def _asked(store: Store, sql: str) -> list[tuple[str, ...]]:
    try:
        return [row for row in store.ask(sql).rows if all(map(is_visible, row))]
    except (SteptrailError, CommandError):
        return []


class SqlCompleter(Completer):
    """Completes the word before the cursor, once `names` are known; `commands` are those of the shell."""

    def __init__(self, names: Callable[[], Names], commands: Iterable[str]) -> None:
        self._names = names
        self._commands = sorted(commands)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """What the word can become, most likely first."""
        before = document.text_before_cursor
        offered: Iterable[tuple[str, str]]
        if before.lstrip().startswith("\\"):
            typed, offered = self._of_command(before.lstrip())
        else:
            typed = _TYPED.search(before)[0]  # type: ignore[index]  # it matches the empty text, too
            offered = self._of_statement(before[: len(before) - len(typed)], typed, document.text)
        wanted, given = typed.lower().lstrip("`"), set()
        for name, kind in offered:
            if name.lower().startswith(wanted) and name not in given and name != typed:
                given.add(name)
                text = (
                    name if _PLAIN.match(name) or kind in _AS_IT_IS else "`" + name.replace("`", "``") + "`"
                )
                yield Completion(text, start_position=-len(typed), display=name, display_meta=kind)

    def _of_command(self, before: str) -> tuple[str, Iterable[tuple[str, str]]]:
        command, space, typed = before.partition(" ")
        if not space:
            return command, [(name, "command") for name in self._commands]
        if command == "\\f":
            return typed, [(each.value, "format") for each in Format]
        if command == "\\d":
            return typed, [(name, "table") for name in self._names().tables]
        return typed, []

    def _of_statement(self, before: str, typed: str, whole: str) -> Iterator[tuple[str, str]]:
        names = self._names()
        spoken = list(words(before))
        aliases = _aliases(list(words(whole)), names)
        if spoken and spoken[-1].upper() in _BEFORE_TABLES:
            yield from ((name, "table") for name in names.tables)
            return
        owner, dot, _ = typed.rpartition(".")
        if dot:
            table = aliases.get(owner, owner)
            yield from ((f"{owner}.{column}", "column") for column in names.tables.get(table, ()))
            yield from ((name, "table") for name in names.tables)
            return
        for table in dict.fromkeys(aliases.values()):
            yield from ((column, f"column of {table}") for column in names.tables[table])
        if not typed:
            return
        upper = typed[:1].islower()
        yield from ((word.lower() if upper else word, "keyword") for word in names.keywords)
        yield from ((name, "function") for name in names.functions)
        yield from ((name, "table") for name in names.tables)


_AS_IT_IS = {"command", "format", "keyword"}


def _aliases(spoken: list[str], names: Names) -> dict[str, str]:
    """The tables that a statement names, by their names and by what it calls them."""
    found: dict[str, str] = {}
    for at, word in enumerate(spoken):
        table = word.strip('`"')
        if table not in names.tables:
            continue
        found[table] = table
        after = [each for each in spoken[at + 1 : at + 3] if each.upper() != "AS"]
        if after and _PLAIN.match(after[0]) and after[0].upper() not in _NO_ALIAS:
            found[after[0]] = table
    return found
