"""What the shell of `steptrail sql` makes of what is typed: statements, completion, history, places of mistakes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from steptrail.deploy.cli.sql.completion import Names, SqlCompleter
from steptrail.deploy.cli.sql.history import PrivateHistory
from steptrail.deploy.cli.sql.refusals import refused
from steptrail.deploy.cli.sql.statements import is_complete, own_format, split
from steptrail.projections.clickhouse.errors import QueryError

NAMES = Names(
    {
        "steps": ["doc_id", "step_name"],
        "step_state": ["doc_id", "status"],
        "odd name": ["a`b"],
        "system.tables": ["name"],
    },
    ["count", "countIf", "length"],
    ["SELECT", "FROM", "COLUMNS"],
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';', \"a;b\", `c;d` -- ; no\n;", ["SELECT ';', \"a;b\", `c;d` -- ; no"]),
        ("/* ; */ SELECT $$;$$;;", ["/* ; */ SELECT $$;$$"]),
        ("-- nothing\n;", []),
        (" \n", []),
    ],
)
def test_statements_end_at_their_semicolon(text: str, found: list[str]) -> None:
    """Not at one in a string, a quoted name or a comment."""
    assert split(text) == found


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("SELECT 1;", True),
        ("SELECT 1; -- done", True),
        ("SELECT 1", False),
        ("SELECT ';", False),
        ("SELECT 1 -- ;", False),
    ],
)
def test_a_statement_goes_on_until_its_semicolon(text: str, complete: bool) -> None:
    """Enter begins another line before it."""
    assert is_complete(text) is complete


@pytest.mark.parametrize(
    ("statement", "form"),
    [
        ("SELECT 1 FORMAT TSV", "TSV"),
        ("SELECT format('{}', 1)", None),
        ("SHOW TABLES FORMAT Vertical;", "Vertical"),
        ("INSERT INTO t FORMAT CSV 1", None),
    ],
)
def test_a_format_of_its_own(statement: str, form: str | None) -> None:
    """Only of a statement that answers with rows."""
    assert own_format(statement) == form


def completions(before: str, after: str = "") -> list[str]:
    completer = SqlCompleter(lambda: NAMES, ["\\d", "\\f", "\\q"])
    document = Document(before + after, len(before))
    return [each.text for each in completer.get_completions(document, CompleteEvent())]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("SELECT * FROM st", "", ["steps", "step_state"]),
        ("SELECT * FROM system.", "", ["system.tables"]),
        ("SELECT * FROM o", "", ["`odd name`"]),
        ("SELECT d", " FROM steps", ["doc_id"]),
        ("SELECT st", " FROM step_state", ["status", "steps", "step_state"]),
        ("SELECT s.", " FROM steps AS s", ["s.doc_id", "s.step_name"]),
        ("SELECT s.st", " FROM step_state s WHERE 1", ["s.status"]),
        ("SELECT cou", "", ["count", "countIf"]),
        ("SELECT 1 fr", "", ["from"]),
        ("SELECT 1 FR", "", ["FROM"]),
        ("\\", "", ["\\d", "\\f", "\\q"]),
        ("\\f j", "", ["json"]),
        ("\\d step_", "", ["step_state"]),
    ],
)
def test_completion(before: str, after: str, found: list[str]) -> None:
    """Tables where a table stands, columns of the statement's tables first, keywords as they are typed."""
    assert completions(before, after) == found


def test_history_survives_what_is_no_history(tmp_path: Path) -> None:
    """Lines that are broken or of something else are left out; several lines of a statement are one entry."""
    file = tmp_path / "state" / "sql-history"
    history = PrivateHistory(file)
    history.append_string("SELECT 1,\n2;")
    history.append_string("SELECT 1,\n2;")
    file.write_text(file.read_text() + "no json\n17\n" + json.dumps("SELECT 3;") + "\n")
    assert list(PrivateHistory(file).load_history_strings()) == ["SELECT 3;", "SELECT 1,\n2;"]


def test_history_stays_within_its_bounds(tmp_path: Path) -> None:
    """A file that has grown is cut to its newest entries, and still its owner's alone."""
    file = tmp_path / "sql-history"
    file.write_text("".join(json.dumps(f"SELECT {number}, '{'x' * 1000}';") + "\n" for number in range(6000)))
    file.chmod(0o644)
    history = PrivateHistory(file)
    assert history.fault is None
    assert next(iter(history.load_history_strings())).startswith("SELECT 5999,")
    assert file.stat().st_size < 5 << 20
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_folder_of_everybody_is_not_used(tmp_path: Path) -> None:
    """Others could put a file there: the shell goes without."""
    folder = tmp_path / "shared"
    folder.mkdir()
    os.chmod(folder, 0o777)
    history = PrivateHistory(folder / "sql-history")
    assert history.fault is not None
    assert "other users" in history.fault
    history.append_string("SELECT 1;")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("statement", "position", "line", "mark"),
    [
        ("SELECT 1 FROMM t", 16, "SELECT 1 FROMM t", 15),
        ("SELECT 'ü',\n  x y z", 20, "  x y z", 6),
        ("SELECT '\x1b[2J' q t", 17, "SELECT '\\x1b[2J' q t", 19),
        ("SELECT 1", 9, "SELECT 1", 8),
    ],
)
def test_a_mistake_is_marked(statement: str, position: int, line: str, mark: int) -> None:
    """Under the byte that the engine names, in its line, as it is seen."""
    error = QueryError(
        f"at: Code: 62. DB::Exception: Syntax error: failed at position {position} (t): t. Expected one of: a. "
        "(SYNTAX_ERROR)",
        code=62,
        name="SYNTAX_ERROR",
    )
    shown = refused(error, statement).message.split("\n")
    assert shown[-2:] == [line, " " * mark + "^"]
