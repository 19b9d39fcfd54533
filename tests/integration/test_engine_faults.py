"""What goes wrong while statements run: late failures, repeats, kills, clients that leave, limits."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from support.engine import EngineServer, engine, running_engine, table
from support.waiting import until

__all__ = ["engine", "table"]
LATE = "SELECT number, throwIf(number = 3000000, 'too late') FROM numbers(4000000)"


def running(engine: EngineServer, comment: str) -> int:
    sql = f"SELECT count() FROM system.processes WHERE Settings['log_comment'] = '{comment}'"
    return int(engine.ask(sql))


@contextlib.contextmanager
def slow_query(engine: EngineServer, sql: str, **parameters: Any) -> Iterator[list[BaseException | str]]:
    """Run a statement in a thread; what it ended with."""
    ended: list[BaseException | str] = []

    def run() -> None:
        try:
            ended.append(engine.send(body=sql.encode(), **parameters).text)
        except Exception as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ended
    finally:
        thread.join(30)
    assert not thread.is_alive()


def raw_post(engine: EngineServer, sql: str, **parameters: str) -> socket.socket:
    """A request whose connection the test holds in its hand."""
    query = "&".join(f"{key}={value}" for key, value in parameters.items())
    connection = socket.create_connection(("127.0.0.1", engine.port))
    head = f"POST /?{query} HTTP/1.1\r\nHost: localhost\r\nX-ClickHouse-User: default\r\n"
    head += f"X-ClickHouse-Key: {engine.password}\r\nContent-Length: {len(sql)}\r\n\r\n{sql}"
    connection.sendall(head.encode())
    return connection


@pytest.mark.parametrize("compressed", [False, True])
def test_failure_amid_the_rows(engine: EngineServer, compressed: bool) -> None:
    """A failure after rows were sent ends with the tagged exception and a broken connection."""
    parameters: dict[str, Any] = {"enable_http_compression": 1} if compressed else {}
    reply = engine.send(LATE, headers={"Accept-Encoding": "lz4"} if compressed else {}, **parameters)
    assert reply.status == 200
    assert reply.broken
    tag = reply.headers["x-clickhouse-exception-tag"]
    body = lz4.frame.decompress(reply.body) if compressed else reply.body
    tail = body[body.index(b"\r\n__exception__\r\n") :].decode()
    message = tail.split("\r\n")[3]
    text, _, counted = message.rpartition("\n")
    assert tail.startswith(f"\r\n__exception__\r\n{tag}\r\nCode: 395. DB::Exception: too late")
    assert counted == f"{len(text) + 1} {tag}"
    assert tail.endswith(f"{tag}\r\n__exception__\r\n")


def test_client_sees_the_late_failure(engine: EngineServer) -> None:
    """clickhouse-connect raises the engine's own error for it, streaming or not."""
    client = engine.client()
    with pytest.raises(StreamFailureError, match="too late"), client.query_row_block_stream(LATE) as blocks:
        for _ in blocks:
            pass
    with pytest.raises(DatabaseError, match="too late") as caught:
        client.query(LATE)
    assert caught.value.code == 395
    assert client.query("SELECT 1").result_rows == [(1,)]


def test_same_query_id_is_refused(engine: EngineServer) -> None:
    """A statement sent twice runs once: the repeat is refused with 216 while the first runs."""
    sql, name = "SELECT sleepEachRow(1) FROM numbers(600) SETTINGS max_block_size = 1", secrets.token_hex(4)
    with slow_query(engine, sql, query_id=name, log_comment=name) as ended:
        until(lambda: running(engine, name) == 1)
        repeat = engine.send(body=sql.encode(), query_id=name)
        assert repeat.headers["x-clickhouse-exception-code"] == "216"
        assert f"Query with id = {name} is already running" in repeat.text
        assert ended == []
        engine.ask(f"KILL QUERY WHERE query_id = '{name}' SYNC")
    assert engine.send(body=b"SELECT 2", query_id=name).text == "2\n"


def test_repeated_insert_is_stored_once(engine: EngineServer, table: str) -> None:
    """Of many repeats of one INSERT at once, one writes for as long as it runs."""
    engine.ask(f"CREATE TABLE {table} (n UInt8) ENGINE = MergeTree ORDER BY n")
    sql = f"INSERT INTO steptrail.{table} SELECT sleep(1)".encode()
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: engine.send(body=sql, query_id=table), range(8)))
    assert sorted(reply.status for reply in replies) == [200, *[500] * 7]
    assert engine.ask(f"SELECT count() FROM {table}") == "1"


def test_running_statements_are_seen(engine: EngineServer, table: str) -> None:
    """Selects and inserts stand in system.processes with their log_comment for as long as they run."""
    engine.ask(f"CREATE TABLE {table} (n UInt64) ENGINE = MergeTree ORDER BY n")
    for number, sql in enumerate(
        (
            "SELECT sleepEachRow(0.1) FROM numbers(10) SETTINGS max_block_size = 1",
            f"INSERT INTO {table} SELECT sleepEachRow(0.1) FROM numbers(10) SETTINGS max_block_size = 1",
        )
    ):
        name = f"steptrail/{table}/{number}/,0,1,"
        with slow_query(engine, sql, log_comment=name, database="steptrail"):
            until(lambda name=name: running(engine, name) == 1)  # type: ignore[misc]
        assert running(engine, name) == 0


@pytest.mark.parametrize("how", ["query_id = '{id}'", "Settings['log_comment'] = '{id}'"])
@pytest.mark.parametrize("sync", ["SYNC", "ASYNC"])
def test_kill_query(engine: EngineServer, how: str, sync: str) -> None:
    """KILL QUERY stops a statement, by the id that its client gave or by log_comment."""
    name = secrets.token_hex(4)
    with slow_query(
        engine,
        "SELECT sleepEachRow(0.1) FROM numbers(300) SETTINGS max_block_size = 1",
        query_id=name,
        log_comment=name,
    ) as ended:
        until(lambda: running(engine, name) == 1)
        killed = engine.ask(f"KILL QUERY WHERE {how.format(id=name)} {sync}")
        assert "sleepEachRow" in killed
        until(lambda: bool(ended))
    assert "Code: 394. DB::Exception: Query was cancelled" in str(ended[0])


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT sleepEachRow(0.1) FROM numbers(600) SETTINGS max_block_size = 1",
        "SELECT sleepEachRow(0.1) FROM numbers(600) SETTINGS max_block_size = 1 FORMAT JSON",
        "SELECT number FROM system.numbers",
        "INSERT INTO FUNCTION null('n UInt8') SELECT sleepEachRow(0.1) FROM numbers(600) SETTINGS max_block_size = 1",
    ],
)
def test_client_that_leaves(engine: EngineServer, sql: str) -> None:
    """A client that closes its connection stops its statement and frees its query id."""
    name = secrets.token_hex(4)
    connection = raw_post(engine, sql, log_comment=name, query_id=name)
    with connection:
        until(lambda: running(engine, name) == 1)
    until(lambda: running(engine, name) == 0)
    until(lambda: engine.send(body=b"SELECT 1", query_id=name).status == 200)


def test_client_that_leaves_amid_its_insert(engine: EngineServer, table: str) -> None:
    """Half a body stores nothing."""
    engine.ask(f"CREATE TABLE {table} (n UInt64) ENGINE = MergeTree ORDER BY n")
    connection = socket.create_connection(("127.0.0.1", engine.port))
    head = f"POST /?query=INSERT+INTO+steptrail.{table}+FORMAT+TSV&query_id={table} HTTP/1.1\r\nHost: localhost\r\n"
    head += f"X-ClickHouse-User: default\r\nX-ClickHouse-Key: {engine.password}\r\nContent-Length: 90000000\r\n\r\n"
    with connection:
        connection.sendall(head.encode() + b"1\n" * 6_000_000)
        assert engine.send(body=b"SELECT 1", query_id=table).headers["x-clickhouse-exception-code"] == "216"
    until(lambda: engine.send(body=b"SELECT 1", query_id=table).status == 200)
    assert engine.ask(f"SELECT count() FROM {table}") == "0"


def test_rows_that_cannot_be_written_are_an_error(engine: EngineServer, table: str) -> None:
    """Whatever keeps rows from being stored is answered with its code, never with success."""
    engine.ask(
        f"CREATE TABLE {table} (n UInt32, CONSTRAINT low CHECK n < 1000) ENGINE = MergeTree ORDER BY n"
    )
    engine.ask(f"CREATE TABLE {table}_p (n UInt32) ENGINE = MergeTree PARTITION BY n ORDER BY n")
    engine.ask(f"CREATE TABLE {table}_v (n UInt32) ENGINE = Memory")
    engine.ask(
        f"CREATE MATERIALIZED VIEW {table}_m TO {table}_v AS SELECT throwIf(n = 7, 'no sevens') + n AS n FROM {table}"
    )
    for target, code, rows in (
        (table, "469", b"1\n2\n5000\n"),
        (f"{table}_p", "252", b"".join(b"%d\n" % n for n in range(200))),
        (table, "395", b"6\n7\n"),
    ):
        reply = engine.send(f"INSERT INTO steptrail.{target} FORMAT TSV", rows)
        assert (reply.status, reply.headers["x-clickhouse-exception-code"]) == (500, code), reply.text
    assert engine.ask(f"SELECT count() FROM {table}_p") == "0"
    engine.ask(f"DROP TABLE {table}_m")
    engine.ask(f"DROP TABLE {table}_p")
    engine.ask(f"DROP TABLE {table}_v")


def test_slow_reader_does_not_hold_the_others(engine: EngineServer) -> None:
    """A client that does not read its rows stops at a bounded buffer, and leaves everyone else alone."""
    name = secrets.token_hex(4)
    with raw_post(engine, "SELECT number FROM system.numbers FORMAT RowBinary", log_comment=name):
        until(lambda: running(engine, name) == 1)
        until(lambda: stands_still(engine, name), "full buffer")
        assert engine.ask("SELECT 1") == "1"
        assert running(engine, name) == 1
    until(lambda: running(engine, name) == 0)


def stands_still(engine: EngineServer, comment: str) -> bool:
    """Whether a statement reads no more rows: two looks half a second apart find the same number."""
    sql = f"SELECT read_rows FROM system.processes WHERE Settings['log_comment'] = '{comment}'"
    before = engine.ask(sql)
    time.sleep(0.5)
    return int(before) > 0 and engine.ask(sql) == before


def test_inserts_and_selects_side_by_side(engine: EngineServer, table: str) -> None:
    """Writers and readers at once: nothing lost, nothing mixed up."""
    engine.ask(f"CREATE TABLE {table} (w UInt8, n UInt32) ENGINE = MergeTree ORDER BY (w, n)")

    def write(writer: int) -> None:
        client = engine.client(autogenerate_session_id=False)
        for batch in range(5):
            rows = b"".join(b"%d\t%d\n" % (writer, batch * 2000 + n) for n in range(2000))
            client.command(f"INSERT INTO {table} FORMAT TSV", data=rows)

    def read(reader: int) -> None:
        client = engine.client(autogenerate_session_id=False)
        for number in range(30):
            sql = f"SELECT {reader}, {number}, count() % 2000 FROM {table}"
            assert client.query(sql).result_rows == [(reader, number, 0)]

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(write, n) for n in range(4)] + [pool.submit(read, n) for n in range(4)]:
            done.result()
    assert engine.ask(f"SELECT count(), uniqExact(w, n) FROM {table}") == "40000\t40000"


def test_limits(tmp_path: Path) -> None:
    """A body past --max-body and a statement past --max-queries are refused, and KILL gets through."""
    with running_engine(tmp_path, "--max-body", "100000", "--max-queries", "2") as engine:
        engine.ask("CREATE TABLE t (s String) ENGINE = Memory")
        large = engine.send("INSERT INTO steptrail.t FORMAT TSV", b"x" * 200_000)
        assert (large.status, large.headers["x-clickhouse-exception-code"]) == (413, "309")
        waiting = "SELECT sleepEachRow(0.1) FROM numbers(100) SETTINGS max_block_size = 1"
        ended: list[str] = []

        def run(name: str) -> None:
            text = too_many = "(TOO_MANY_SIMULTANEOUS_QUERIES)"
            while too_many in text:
                text = engine.send(body=waiting.encode(), query_id=name).text
            ended.append(text)

        threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        until(lambda: engine.send("SELECT 1").headers.get("x-clickhouse-exception-code") == "202")
        kill = b"KILL QUERY WHERE query_id IN ('one', 'two') ASYNC"
        while any(thread.is_alive() for thread in threads):
            assert engine.send(body=kill).status == 200
        assert all("Code: 394." in text for text in ended)
        assert engine.ask("SELECT 1") == "1"
