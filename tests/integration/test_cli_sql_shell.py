"""`steptrail sql` without a query, typed at on a real terminal (a pty), on a real engine."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from support.engine import EngineServer, running_engine
from support.hostile import NAME, unwanted
from support.typing_at import Typist, typing_at
from support.waiting import until

PROMPT = "steptrail>"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    """An engine in a folder that says it is a stack's."""
    folder = tmp_path_factory.mktemp("stack")
    with running_engine(folder) as server:
        write_stack(server)
        (folder / "clickhouse-reader-password").write_text(server.reader_password + "\n")
        server.ask(
            "CREATE TABLE deeds (number UInt64 COMMENT 'which deed', said String) ENGINE = MergeTree ORDER BY number"
        )
        server.ask("INSERT INTO deeds SELECT number, 'deed ' || toString(number) FROM numbers(200)")
        server.ask("CREATE TABLE hostile (said String) ENGINE = Memory")
        server.ask("INSERT INTO hostile SELECT {said:String}", param_said=NAME.replace("\\", "\\\\"))
        yield server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def shell(engine: EngineServer, home: Path, *options: str, **environ: str) -> AbstractContextManager[Typist]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("STEPTRAIL_", "PAGER", "LESS", "COLUMNS", "LINES"))
    }
    command = [sys.executable, "-m", "steptrail.deploy.cli", "sql", "--dir", str(engine.folder), *options]
    return typing_at(command, {**kept, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), **environ})


def test_statements_and_commands(engine: EngineServer, home: Path) -> None:
    """A statement of several lines, its rows, its time, what was read; the columns of a table; the end."""
    with shell(engine, home) as person:
        person.sees(PROMPT)
        person.type("SELECT sum(number) AS total\r")
        person.sees("->")
        person.type("FROM deeds;\r")
        shown = person.sees("read.")
        assert "total" in shown
        assert "19900" in shown
        assert "1 row, " in shown
        assert "200 rows read." in shown
        person.type("\\d\r")
        assert "deeds" in person.sees("hostile")
        person.type("\\d deeds\r")
        assert "UInt64" in person.sees("which deed")
        person.sees(PROMPT)
        person.type("\\d deds\r")
        assert "deeds" in person.sees("lists them")
        person.type("\\q\r")
        assert person.ends() == 0


def test_a_mistake_is_shown_where_it_is(engine: EngineServer, home: Path) -> None:
    """The engine's message, short, the line and a mark under the place; the shell goes on."""
    with shell(engine, home) as person:
        person.sees(PROMPT)
        person.type("SELECT 1,\r'über' FROMM deeds WHERE;\r")
        shown = person.sees("error:")
        shown += person.sees(PROMPT)
        assert "Syntax error" in shown
        mark = next(at for at, line in enumerate(shown.split("\n")) if line.strip() == "^")
        lines = shown.split("\n")
        assert lines[mark - 1].strip() == "'über' FROMM deeds WHERE"
        assert lines[mark - 1][lines[mark].index("^") :].startswith("deeds")
        assert len(shown) < 2500
        person.type("SELECT nobody FROM deeds;\r")
        person.sees("DESCRIBE")
        person.type("SELECT 41 + 1;\r")
        person.sees("1 row, ")


def test_it_reads_unless_it_may_write(engine: EngineServer, home: Path) -> None:
    """A statement that writes is refused, with what to do; under --write, which the prompt says, it is done."""
    with shell(engine, home) as person:
        person.sees(PROMPT)
        person.type("CREATE TABLE made (n UInt8) ENGINE = Memory;\r")
        person.sees("--write")
    assert engine.ask("EXISTS TABLE made") == "0"
    with shell(engine, home, "--write") as person:
        person.sees("steptrail write>")
        person.type("CREATE TABLE made (n UInt8) ENGINE = Memory; INSERT INTO made VALUES (7), (8);\r")
        person.sees("Done, ")
        person.sees("Done, ")
        person.type("SET max_threads = 1;\r")
        person.sees("each statement is on its own")
    assert engine.ask("SELECT sum(n) FROM made") == "15"


SILENT = "SELECT sum(sipHash64(number)) AS slow FROM numbers(1000000000000)"
ANSWERING = "SELECT number AS slow FROM numbers(1000000000000) WHERE sipHash64(number) % 50000000 = 0"


@pytest.mark.parametrize("options", [(), ("--write",)], ids=["reader", "default"])
@pytest.mark.parametrize("statement", [SILENT, ANSWERING], ids=["silent", "answering"])
def test_ctrl_c_cancels_on_the_server(
    engine: EngineServer, home: Path, statement: str, options: tuple[str, ...]
) -> None:
    """The statement is gone from the engine's processes, and the shell goes on."""
    running = (
        "SELECT count() FROM system.processes WHERE query LIKE '%AS slow%' AND query NOT LIKE '%processes%'"
    )
    with shell(engine, home, *options) as person:
        person.sees(">")
        person.type(statement + ";\r")
        until(lambda: engine.ask(running) != "0", "the statement runs")
        person.type("\x03")
        person.sees("Cancelled.")
        until(lambda: engine.ask(running) == "0", "such end")
        person.type("SELECT 'still' || ' here';\r")
        person.sees("still here")
        person.type("SELECT 'dropp\x03")
        person.sees(">")
        person.type("SELECT 'and ' || 'here';\r")
        person.sees("and here")


def test_names_are_completed(engine: EngineServer, home: Path) -> None:
    """Tables after FROM, columns of the statement's tables elsewhere, functions, keywords, commands."""
    with shell(engine, home) as person:
        person.sees(PROMPT)
        person.type("SELECT 'a' FROM dee\t")
        person.sees("ds")
        person.type(" WHERE numb\t")
        person.sees("er")
        person.type(" = 17 AND lengthU\t")
        person.sees("TF8")
        person.type("(said) > 1;\r")
        person.sees("1 row, ")
        person.type("\\f vert\t")
        person.sees("ical")
        person.type("\r")
        person.sees("shown as vertical")


def test_formats(engine: EngineServer, home: Path, tmp_path: Path) -> None:
    """Each format on the terminal, and in a new file, which is never an old one; the statement's own FORMAT."""
    with shell(engine, home, "--format", "json") as person:
        person.sees(PROMPT)
        person.type("SELECT number, said FROM deeds LIMIT 1;\r")
        person.sees('{"number": 0, "said": "deed 0"}')
        person.type("\\f csv\rSELECT number, said FROM deeds LIMIT 1;\r")
        person.sees("number,said\n0,deed 0")
        person.type("\\f vertical\rSELECT number, said FROM deeds LIMIT 1;\r")
        person.sees("number  0\nsaid    deed 0")
        person.type("SELECT number, said FROM deeds LIMIT 1 FORMAT TSKV;\r")
        person.sees("number=0\tsaid=deed 0")
        person.type("\\f parquet\rSELECT 1;\r")
        person.sees("not for a terminal")
        person.type(f"\\o {tmp_path}/deeds.parquet\rSELECT * FROM deeds;\r")
        person.sees("Written to")
        person.type("\\f csv\r\\limit 3\r")
        person.type(f"\\o {tmp_path}/deeds.csv\rSELECT * FROM deeds;\r")
        person.sees("Written to")
        person.type(f"\\o {tmp_path}/deeds.csv\rSELECT 'no';\r")
        person.sees("name of a new file")
        person.type("SELECT * FROM deeds;\r")
        person.sees("The first 3 rows of more")
    table: Any = pyarrow.parquet.read_table(tmp_path / "deeds.parquet")
    assert (table.num_rows, table.column_names) == (200, ["number", "said"])
    assert len((tmp_path / "deeds.csv").read_text().splitlines()) == 201


def test_long_answers_are_paged(engine: EngineServer, home: Path) -> None:
    """What does not fit on the screen goes through PAGER, unless one turns that off."""
    seen = home / "paged"
    with shell(engine, home, PAGER=f"tee {seen}") as person:
        person.sees(PROMPT)
        person.type("SELECT number FROM deeds LIMIT 3;\r")
        person.sees("3 rows, ")
        assert not seen.exists()
        person.type("SELECT number FROM deeds;\r")
        person.sees("200 rows, ")
        assert len(seen.read_text().splitlines()) == 201
        seen.unlink()
        person.type("\\pager\rSELECT number FROM deeds;\r")
        person.sees("200 rows, ")
        assert not seen.exists()


def test_hostile_text_does_nothing(engine: EngineServer, home: Path) -> None:
    """Values, names of columns and the words of an error: in each format only text reaches the terminal."""
    for form in ("table", "vertical", "json", "csv"):
        with shell(engine, home, "--format", form) as person:
            person.sees(PROMPT)
            person.type("SELECT said FROM hostile;\r")
            person.sees("1 row, ")
            begin = person.got.index(b"said", person.got.rindex(b"hostile")) if form != "json" else 0
            shown = person.got[begin:].partition(b"1 row, ")[0]
            answer = shown[shown.rindex(b"\x1b[?2004l") :] if b"\x1b[?2004l" in shown else shown
            answer = answer.replace(b"\x1b[?2004l", b"").replace(b"\r\n", b"\n").lstrip(b"\r")
            assert b"c;eA" in answer
            assert unwanted(answer.replace(b"\x1b[0m", b"")) == []
            person.type("SELECT throwIf(1, said) FROM hostile;\r")
            person.sees("error:")
            assert b"\x1b]52" not in person.got
            assert b"\x1b]0;owned" not in person.got


def test_what_was_typed_is_kept_for_its_owner_alone(engine: EngineServer, home: Path) -> None:
    """The next shell knows it; nobody else reads the file, and a link in its place is not followed."""
    with shell(engine, home) as person:
        person.sees(PROMPT)
        person.type("SELECT 'first' AS kept;\r")
        person.sees("1 row, ")
        person.type(" SELECT 'second' AS secret;\r")
        person.sees("1 row, ")
        person.sees(PROMPT)  # an end of input before it is nobody's
        person.type("\x04")
        assert person.ends() == 0
    file = home / "state" / "steptrail" / "sql-history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert "secret" not in file.read_text()
    with shell(engine, home) as person:
        person.sees(PROMPT)
        person.type("\x1b[A\r")  # the arrow up
        assert "first" in person.sees("1 row, ")
    target = home / "other"
    target.write_text("")
    file.unlink()
    file.symlink_to(target)
    with shell(engine, home) as person:
        assert "not kept" in person.sees(PROMPT)
        person.type("SELECT 1;\r")
        person.sees("1 row, ")
    assert target.read_text() == ""


def test_it_outlives_its_store(tmp_path: Path, home: Path) -> None:
    """A store that is away is said to be so, and asked again when it is back, wherever it then is."""
    folder = tmp_path / "stack"
    folder.mkdir()
    with running_engine(folder) as server:
        (folder / "clickhouse-reader-password").write_text(server.reader_password + "\n")
        write_stack(server)
        with shell(server, home) as person:
            person.sees(PROMPT)
            person.type("SELECT 'one' || 'two';\r")
            person.sees("onetwo")
            server.process.terminate()
            server.process.wait(30)
            person.type("SELECT 1;\r")
            person.sees("cannot be reached")
            person.sees(PROMPT)
            with running_engine(folder) as again:
                write_stack(again)
                person.type("SELECT 'three' || 'four';\r")
                person.sees("threefour")


def write_stack(server: EngineServer) -> None:
    told = {
        "kafka": "127.0.0.1:1",
        "clickhouse": f"http://default:{server.password}@127.0.0.1:{server.port}/steptrail",
        "dir": str(server.folder),
        "pid": os.getpid(),
    }
    (server.folder / "stack.json").write_text(json.dumps(told))
