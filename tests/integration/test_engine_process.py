"""The engine server as a process: how it starts, refuses to start, stops, and survives a kill."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

from support.effort import ONLY_IN_TEST_ALL
from support.engine import command_of, running_engine
from support.waiting import PATIENCE_S, until


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "steptrail.deploy.engine", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_help_teaches() -> None:
    """--help shows how to start the server and how to speak to it."""
    told = run("--help").stdout
    for word in ("--path", "--password-file", "curl", "clickhouse_connect", "SIGTERM"):
        assert word in told


def test_first_start_and_next(tmp_path: Path) -> None:
    """The first start makes a password, for its owner only, and the database; the next keeps both and the data."""
    with running_engine(tmp_path, "--database", "trail") as engine:
        assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600
        assert len(engine.password) >= 24
        engine.ask("CREATE TABLE kept (n UInt8) ENGINE = MergeTree ORDER BY n", database="trail")
        engine.ask("INSERT INTO kept VALUES (1)", database="trail")
        first = engine.password
        process = engine.process
    assert process.returncode == 0
    with running_engine(tmp_path, "--database", "trail") as engine:
        assert engine.password == first
        assert engine.ask("SELECT n FROM kept", database="trail") == "1"


def test_kill_9_and_start_again(tmp_path: Path) -> None:
    """After kill -9 amid inserts the next start finds every acknowledged row and no half of any batch."""
    with running_engine(tmp_path) as engine:
        engine.ask("CREATE TABLE kept (b UInt32, n UInt32) ENGINE = MergeTree ORDER BY (b, n)")
        acknowledged: list[int] = []

        def write() -> None:
            for batch in range(10_000):
                sql = f"INSERT INTO steptrail.kept SELECT {batch}, number FROM numbers(1000)"
                try:
                    if engine.send(body=sql.encode()).status != 200:
                        return
                except OSError:
                    return
                acknowledged.append(batch)

        writer = threading.Thread(target=write)
        writer.start()
        until(lambda: len(acknowledged) >= 20, "20 batches")
        engine.process.kill()
        engine.process.wait()
        writer.join(30)
    with running_engine(tmp_path) as engine:
        counts = engine.ask("SELECT b, count() FROM kept GROUP BY b ORDER BY b").splitlines()
        assert {line.split("\t")[1] for line in counts} == {"1000"}
        assert set(acknowledged) <= {int(line.split("\t")[0]) for line in counts}


def test_one_engine_a_directory(tmp_path: Path) -> None:
    """A second server on the same directory says what is wrong and ends with code 2."""
    with running_engine(tmp_path):
        second = subprocess.run(
            command_of(tmp_path), capture_output=True, text=True, timeout=300, check=False
        )
    assert second.returncode == 2
    assert "in use by another process" in second.stderr
    assert "Traceback" not in second.stderr


@ONLY_IN_TEST_ALL
def test_starts_that_are_refused(tmp_path: Path) -> None:
    """Other addresses than loopback, a taken port, and a password that others can read are refused."""
    paths = ("--path", str(tmp_path / "d"), "--password-file", str(tmp_path / "p"))
    for host in ("0.0.0.0", "192.0.2.1", "example.com"):
        refused = run(*paths, "--host", host, "--port", "0")
        assert refused.returncode == 2
        assert "loopback" in refused.stderr
    with running_engine(tmp_path) as engine:
        taken = run(*paths, "--port", str(engine.port))
    assert taken.returncode == 2
    assert "cannot listen" in taken.stderr
    (tmp_path / "p").write_text("secret\n")
    (tmp_path / "p").chmod(0o644)
    readable = run(*paths, "--port", "0")
    assert readable.returncode == 2
    assert "chmod 600" in readable.stderr
    assert "secret" not in readable.stderr


@ONLY_IN_TEST_ALL
def test_sigterm_lets_statements_end(tmp_path: Path) -> None:
    """SIGTERM: what ends soon gets its answer, what does not is stopped, and the process is gone."""
    with running_engine(tmp_path, "--drain", "6") as engine:
        ended: dict[str, str] = {}

        def ask(name: str, sql: str) -> None:
            ended[name] = engine.send(body=sql.encode(), log_comment=name).text

        threads = [
            threading.Thread(target=ask, args=("short", "SELECT sleep(3)")),
            threading.Thread(
                target=ask,
                args=("long", "SELECT sleepEachRow(0.1) FROM numbers(6000) SETTINGS max_block_size = 1"),
            ),
        ]
        for thread in threads:
            thread.start()
        count = "SELECT count() FROM system.processes WHERE Settings['log_comment'] != ''"
        until(lambda: engine.ask(count) == "2", "two statements that run")
        engine.process.send_signal(signal.SIGTERM)
        assert engine.process.wait(PATIENCE_S) == 0
        for thread in threads:
            thread.join(PATIENCE_S)
    assert ended["short"] == "0\n"
    assert "Code: 394" in ended["long"]


@ONLY_IN_TEST_ALL
def test_nothing_is_said_but_the_ready_line(tmp_path: Path) -> None:
    """The ready line is one JSON object, and the password is nowhere in it or in the log."""
    process = subprocess.Popen(
        command_of(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    process.terminate()
    out, err = process.communicate(timeout=300)
    assert told["ready"] is True
    assert told["pid"] == process.pid
    assert told["url"] == f"http://127.0.0.1:{told['port']}"
    password = (tmp_path / "password").read_text().strip()
    assert password not in json.dumps(told) + out + err
    assert err == ""


@ONLY_IN_TEST_ALL
def test_full_disk(tmp_path: Path) -> None:
    """Where the disk has no room left beside the margin, inserts are refused with 243, and reading goes on."""
    with running_engine(tmp_path) as engine:
        engine.ask("CREATE TABLE t (s String) ENGINE = MergeTree ORDER BY tuple()")
        engine.ask("INSERT INTO t VALUES ('before')")
    everything = shutil.disk_usage(tmp_path).total - (1 << 20)
    with running_engine(tmp_path, "--keep-free", str(everything)) as engine:
        for sql in ("INSERT INTO t VALUES ('x')", "INSERT INTO t SELECT * FROM t"):
            reply = engine.send(body=sql.encode(), database="steptrail")
            assert (reply.status, reply.headers["x-clickhouse-exception-code"]) == (500, "243")
            assert reply.text.startswith("Code: 243. DB::Exception: ")
            assert "(NOT_ENOUGH_SPACE)" in reply.text
        assert engine.ask("SELECT * FROM t") == "before"
    with running_engine(tmp_path) as engine:
        engine.ask("INSERT INTO t VALUES ('after')")
        assert engine.ask("SELECT count() FROM t") == "2"


@ONLY_IN_TEST_ALL
def test_limit_on_file_sizes_is_refused(tmp_path: Path) -> None:
    """Under a limit that would make the engine lose rows without an error, the server does not start."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))

    refused = subprocess.run(
        command_of(tmp_path), capture_output=True, text=True, timeout=300, check=False, preexec_fn=limit
    )
    assert refused.returncode == 2
    assert "ulimit -f" in refused.stderr


@ONLY_IN_TEST_ALL
def test_memory_is_bounded(tmp_path: Path) -> None:
    """A statement that wants more memory than its share gets 241, and the server goes on."""
    with running_engine(tmp_path, "--memory-ratio", "0.05") as engine:
        greedy = "SELECT length(groupArray(repeat(toString(number), 1000))) FROM numbers(100000000)"
        reply = engine.send(body=greedy.encode())
        assert reply.headers["x-clickhouse-exception-code"] == "241", reply.text
        assert engine.ask("SELECT 1") == "1"
