"""`steptrail sql` reads as the local stack's reader, `steptrail env --reader` says how others do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import pyarrow.parquet
import pytest

from support.effort import ONLY_IN_TEST_ALL
from support.engine import EngineServer, running_engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    """An engine in a folder that says it is a stack's: what these commands need of one."""
    folder = tmp_path_factory.mktemp("stack")
    with running_engine(folder, "--reader-rows", "2000") as server:
        told = {
            "kafka": "127.0.0.1:1",
            "clickhouse": f"http://default:{server.password}@127.0.0.1:{server.port}/steptrail",
            "dir": str(folder),
            "pid": os.getpid(),
        }
        (folder / "stack.json").write_text(json.dumps(told))
        (folder / "clickhouse-reader-password").write_text(server.reader_password + "\n")
        server.ask("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
        server.ask("INSERT INTO t SELECT number FROM numbers(10)")
        yield server


def steptrail(folder: Path, *arguments: str) -> tuple[int, str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("STEPTRAIL_")}
    done = subprocess.run(
        [sys.executable, "-m", "steptrail.deploy.cli", *arguments, "--dir", str(folder)],
        env=kept,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_it_reads(engine: EngineServer) -> None:
    """A query is answered as before."""
    code, out, err = steptrail(engine.folder, "sql", "SELECT sum(n) AS total FROM t", "--json")
    assert (code, json.loads(out)) == (0, {"total": 45}), err


@ONLY_IN_TEST_ALL
def test_formats(engine: EngineServer, tmp_path: Path) -> None:
    """--format names each; Parquet and the query's own FORMAT come as ClickHouse writes them."""
    ask = "SELECT n, toString(n) AS said FROM t ORDER BY n LIMIT 2"
    assert (
        steptrail(engine.folder, "sql", ask, "--format", "json")[1]
        == '{"n": 0, "said": "0"}\n{"n": 1, "said": "1"}\n'
    )
    assert steptrail(engine.folder, "sql", ask, "-f", "csv")[1] == "n,said\n0,0\n1,1\n"
    assert "n     1\nsaid  1\n" in steptrail(engine.folder, "sql", ask, "-f", "vertical")[1]
    assert steptrail(engine.folder, "sql", f"{ask} FORMAT TSV;")[1] == "0\t0\n1\t1\n"
    code, out, err = steptrail(engine.folder, "sql", ask, "--json", "--format", "csv")
    assert (code, out) == (2, ""), err
    with (tmp_path / "t.parquet").open("wb") as file:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("STEPTRAIL_")}
        command = [
            sys.executable,
            "-m",
            "steptrail.deploy.cli",
            "sql",
            f"{ask} -- two\n;",
            "--format",
            "parquet",
        ]
        subprocess.run([*command, "--dir", str(engine.folder)], env=kept, stdout=file, timeout=60, check=True)
    table: Any = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    assert table.to_pydict() == {"n": [0, 1], "said": ["0", "1"]}


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT 1 FROMM t WHERE", "Syntax error"),
        ("DROP TABLE t", "--write"),
        ("INSERT INTO t VALUES (1)", "--write"),
        ("SELECT file('/etc/passwd')", "file"),
        ("SELECT * FROM system.processes", "system.processes"),
    ],
)
def test_it_only_reads(engine: EngineServer, sql: str, said: str) -> None:
    """A statement that would write is refused with what to do; so is what the reader may not see."""
    code, out, err = steptrail(engine.folder, "sql", sql)
    assert (code, out) == (4, "")
    assert said in err
    assert engine.password not in err
    assert engine.ask("SELECT count() FROM t") == "10"


def test_writes_need_their_option(engine: EngineServer) -> None:
    """With --write the statement runs as the user that the settings name; --limit 0 has no bound then."""
    assert steptrail(engine.folder, "sql", "CREATE TABLE made (n UInt8) ENGINE = Memory", "--write")[0] == 0
    assert engine.ask("EXISTS TABLE made") == "1"
    code, _, err = steptrail(
        engine.folder, "sql", "SELECT number FROM numbers(3000)", "--limit", "0", "--csv"
    )
    assert code == 4
    assert "--write" in err
    code, out, _ = steptrail(
        engine.folder, "sql", "SELECT number FROM numbers(3000)", "-n", "0", "--csv", "--write"
    )
    assert (code, len(out.splitlines())) == (0, 3001)


def test_addresses_for_other_tools(engine: EngineServer) -> None:
    """What `steptrail env --reader` says leads a client there, as the reader."""
    code, out, err = steptrail(engine.folder, "env", "--reader", "--json")
    assert code == 0, err
    told = json.loads(out)
    client = clickhouse_connect.get_client(
        host=told["HOST"],
        port=int(told["PORT"]),
        username=told["USER"],
        password=told["PASSWORD"],
        database=told["DATABASE"],
    )
    assert client.query("SELECT sum(n) FROM t").result_rows == [(45,)]
    curl = ["curl", "-sf", "--data-binary", "SELECT sum(n) FROM t", told["URL"]]
    assert subprocess.run(curl, capture_output=True, text=True, check=True).stdout == "45\n"
    assert told["PASSWORD"] == engine.reader_password
    assert set(told) >= {"SQLALCHEMY", "JDBC", "GO", "NODE"}
    plain = steptrail(engine.folder, "env", "--reader")[1]
    assert f"JDBC='{told['JDBC']}'" in plain


def test_no_reader_elsewhere(engine: EngineServer, tmp_path: Path) -> None:
    """Where the settings lead to no local stack with a reader, that is said."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("STEPTRAIL_")}
    done = subprocess.run(
        [sys.executable, "-m", "steptrail.deploy.cli", "env", "--reader"],
        env={
            **kept,
            "XDG_DATA_HOME": str(tmp_path),
            "STEPTRAIL_KAFKA": "k:1",
            "STEPTRAIL_CLICKHOUSE": "http://c:1/",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "no local stack" in done.stderr
