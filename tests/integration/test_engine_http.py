"""The engine server's HTTP, request by request: who may come in, headers, statuses, formats, curl."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
import subprocess
import zlib
from collections.abc import Callable
from typing import Any

import lz4.frame
import pytest
import zstandard

from support.engine import EngineServer, engine, table

__all__ = ["engine", "table"]


def test_health_needs_no_password(engine: EngineServer) -> None:
    """/ping, /replicas_status and an empty GET answer Ok. to anyone on this machine."""
    for path in ("/ping", "/replicas_status", "/"):
        reply = engine.send(method="GET", path=path, login=False)
        assert (reply.status, reply.body) == (200, b"Ok.\n")
    assert engine.send(method="HEAD", path="/ping", login=False).body == b""


@pytest.mark.parametrize("how", ["headers", "basic", "address"])
def test_credentials(engine: EngineServer, how: str) -> None:
    """Credentials are taken in headers, as Basic, and in the address; a wrong password is 516."""

    def reply(password: str) -> tuple[int, str]:
        headers: dict[str, str] = {}
        parameters: dict[str, Any] = {}
        if how == "headers":
            headers = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": password}
        elif how == "basic":
            headers = {"Authorization": "Basic " + base64.b64encode(f"default:{password}".encode()).decode()}
        else:
            parameters = {"user": "default", "password": password}
        answer = engine.send("SELECT 1", headers=headers, login=False, **parameters)
        return answer.status, answer.headers.get("x-clickhouse-exception-code", "")

    assert reply(engine.password) == (200, "")
    assert reply("wrong") == (403, "516")
    assert reply("") == (403, "516")


def test_no_credentials(engine: EngineServer) -> None:
    """Without credentials nothing runs, and the answer asks for them."""
    reply = engine.send("SELECT 1", login=False)
    assert (reply.status, reply.headers["x-clickhouse-exception-code"]) == (401, "516")
    assert reply.headers["www-authenticate"].startswith("Basic")
    other = engine.send(
        "SELECT 1", login=False, headers={"X-ClickHouse-User": "admin", "X-ClickHouse-Key": engine.password}
    )
    assert other.status == 403


def test_web_pages_are_refused(engine: EngineServer) -> None:
    """Any Origin and any foreign Host is refused, with the right password too."""
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{engine.port}"},
        {"Host": "evil.example"},
        {"Host": f"evil.example:{engine.port}"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example:80"},
    ):
        reply = engine.send("SELECT 1", headers=headers)
        assert reply.status == 403, headers
        assert reply.headers["x-clickhouse-exception-code"] == "497"
        assert engine.send(method="GET", path="/ping", headers=headers).status == 403
    for host in ("localhost", f"localhost:{engine.port}", "127.0.0.1", f"[::1]:{engine.port}"):
        assert engine.send("SELECT 1", headers={"Host": host}).status == 200


def test_headers(engine: EngineServer) -> None:
    """The answer tells format, query id, time zone, summary and the tag of exceptions."""
    reply = engine.send("SELECT number FROM numbers(3)", query_id="mine", default_format="JSONEachRow")
    assert reply.headers["x-clickhouse-format"] == "JSONEachRow"
    assert reply.headers["x-clickhouse-query-id"] == "mine"
    assert reply.headers["x-clickhouse-timezone"]
    assert reply.headers["x-clickhouse-server-display-name"]
    assert len(reply.headers["x-clickhouse-exception-tag"]) == 16
    summary = json.loads(reply.headers["x-clickhouse-summary"])
    assert summary["result_rows"] == "3"
    assert int(summary["elapsed_ns"]) > 0
    zoned = engine.send("SELECT 1", session_timezone="Asia/Tokyo")
    assert zoned.headers["x-clickhouse-timezone"] == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("sql", "status", "code", "name"),
    [
        ("SELECT * FROM nothere", 404, 60, "UNKNOWN_TABLE"),
        ("SELEC 1", 400, 62, "SYNTAX_ERROR"),
        ("SELECT nothere", 404, 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT nothere()", 404, 46, "UNKNOWN_FUNCTION"),
        ("SELECT * FROM nothere.nothere", 404, 81, "UNKNOWN_DATABASE"),
        ("SELECT 1 FORMAT Nothere", 404, 73, "UNKNOWN_FORMAT"),
        ("SELECT toUInt8('x')", 400, 6, "CANNOT_PARSE_TEXT"),
        ("SELECT throwIf(1)", 500, 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT sleep(3) SETTINGS max_execution_time = 0.3", 408, 159, "TIMEOUT_EXCEEDED"),
        ("SELECT 1; SELECT 2", 400, 62, "SYNTAX_ERROR"),
        ("SELECT 1; DROP TABLE x", 400, 62, "SYNTAX_ERROR"),
        ("INSERT INTO nothere VALUES (1)", 404, 60, "UNKNOWN_TABLE"),
        ("INSERT INTO nothere FORMAT CSV\n1", 404, 60, "UNKNOWN_TABLE"),
        ("INSERT INTO a SELECT * FROM input('x UInt8') FORMAT CSV\n1", 501, 48, "NOT_IMPLEMENTED"),
        ("-- nothing", 400, 62, "SYNTAX_ERROR"),
        ("", 400, 62, "SYNTAX_ERROR"),
    ],
)
def test_exceptions(engine: EngineServer, sql: str, status: int, code: int, name: str) -> None:
    """Every fault carries the code, the name, the text, and the HTTP status of a ClickHouse server."""
    reply = engine.send(body=sql.encode())
    assert (reply.status, reply.headers["x-clickhouse-exception-code"]) == (status, str(code)), reply.text
    assert reply.text.startswith(f"Code: {code}. DB::Exception: ")
    assert f"({name})" in reply.text
    assert "(version 26." in reply.text


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        (b"SELECT toUInt8('\xff\xfe')", 6),
        (b"SELECT throwIf(number = 1, '\xff') FROM numbers(2)", 395),
        (b"SELECT throwIf(number = 1000000, '\xff') FROM numbers(1000001)", 395),
        (b"SELECT * FROM `\xff`", 60),
        (b"SELECT \xff", 62),
        (b"INSERT INTO no_such_table FORMAT CSV\n\xff", 60),
        (b"SELECT CAST(unhex('fffe'), 'UUID')", 376),
    ],
)
def test_exceptions_about_bytes_that_are_no_text(engine: EngineServer, sql: bytes, code: int) -> None:
    """They have their code like any other: a client to which the server itself seems to fail tries again for ever."""
    assert f"Code: {code}. DB::Exception: " in engine.send(body=sql).text


def test_unknown_setting_and_database(engine: EngineServer) -> None:
    """A setting or database that is not there is said by name."""
    setting = engine.send("SELECT 1", no_such_setting=1)
    assert (setting.status, setting.headers["x-clickhouse-exception-code"]) == (404, "115")
    database = engine.send("SELECT 1", database="no_such_database")
    assert (database.status, database.headers["x-clickhouse-exception-code"]) == (404, "81")


def test_get_reads_only(engine: EngineServer, table: str) -> None:
    """GET cannot write, whatever it says about readonly."""
    create = f"CREATE TABLE {table} (n UInt8) ENGINE = Memory"
    every: list[dict[str, Any]] = [{}, {"readonly": 0}]
    for parameters in every:
        reply = engine.send(create, method="GET", database="steptrail", **parameters)
        assert reply.headers["x-clickhouse-exception-code"] == "164"
    assert engine.send("SELECT 1", method="GET", max_threads=1).text == "1\n"
    assert engine.send(create, readonly=1).headers["x-clickhouse-exception-code"] == "164"
    assert engine.ask(f"EXISTS TABLE {table}") == "0"


def test_statement_parts(engine: EngineServer, table: str) -> None:
    """The statement may stand in the address, in the body, or begin in one and end in the other."""
    assert engine.send("SELECT 1", method="GET").text == "1\n"
    assert engine.send(body=b"SELECT 1;").text == "1\n"
    assert engine.send("SELECT 1", b" + 1").text == "2\n"
    engine.ask(f"CREATE TABLE {table} (n UInt8, s String) ENGINE = Memory")
    target = f"INSERT INTO steptrail.{table}"
    assert engine.send(f"{target} FORMAT CSV", b"1,a\n").status == 200
    assert engine.send(f"{target} FORMAT CSV\n", b"2,b\n").status == 200
    assert engine.send(body=f"{target} FORMAT CSV\n3,c\n".encode()).status == 200
    assert engine.send(target, b"VALUES (4, 'd')").status == 200
    assert engine.send(f"{target} VALUES", b"(5, 'e')").status == 200
    assert engine.send(f"{target} (n) FORMAT TSV", b"").status == 200
    assert engine.ask(f"SELECT groupConcat(s) FROM (SELECT s FROM {table} ORDER BY n)") == "abcde"


def test_response_compression(engine: EngineServer) -> None:
    """A response is compressed when the client takes it and asks for it, small or streamed."""
    unpack: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.decompress,
        "deflate": zlib.decompress,
        "lz4": lz4.frame.decompress,
        "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    }
    for name, decompress in unpack.items():
        for rows in (3, 1_000_000):
            reply = engine.send(
                f"SELECT number FROM numbers({rows})",
                headers={"Accept-Encoding": name},
                enable_http_compression=1,
            )
            assert reply.headers["content-encoding"] == name
            assert decompress(reply.body).count(b"\n") == rows
    plain = engine.send("SELECT 1", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers


def test_request_compression_faults(engine: EngineServer, table: str) -> None:
    """A body that is not what its encoding says, or is cut off, is refused and stores nothing."""
    engine.ask(f"CREATE TABLE {table} (n UInt64) ENGINE = MergeTree ORDER BY n")
    rows = b"".join(b"%d\n" % n for n in range(100_000))
    query = f"INSERT INTO steptrail.{table} FORMAT TSV"
    packed = gzip.compress(rows)
    for data in (b"plainly not gzip", packed[:-20], packed + b"junk"):
        reply = engine.send(query, data, headers={"Content-Encoding": "gzip"})
        assert (reply.status, reply.headers["x-clickhouse-exception-code"]) == (400, "89"), reply.text
    unknown = engine.send(query, rows, headers={"Content-Encoding": "snappy"})
    assert unknown.status == 501
    assert engine.ask(f"SELECT count() FROM {table}") == "0"
    deflated = engine.send(query, zlib.compress(rows), headers={"Content-Encoding": "deflate"})
    assert deflated.status == 200
    assert engine.ask(f"SELECT count() FROM {table}") == "100000"


def test_wait_end_of_query(engine: EngineServer) -> None:
    """With wait_end_of_query a late failure is a plain error, and a large result comes with its summary."""
    late = "SELECT number, throwIf(number = 3000000) FROM numbers(4000000)"
    reply = engine.send(late, wait_end_of_query=1)
    assert (reply.status, reply.headers["x-clickhouse-exception-code"]) == (500, "395")
    large = engine.send("SELECT number, repeat('x', 100) FROM numbers(1000000)", wait_end_of_query=1)
    assert large.body.count(b"\n") == 1_000_000
    assert json.loads(large.headers["x-clickhouse-summary"])["result_rows"] == "1000000"


def test_long_addresses(engine: EngineServer) -> None:
    """An address may be a megabyte long, and is refused past that."""
    for length in (50_000, 59_990, 60_100, 500_000, 1_000_000):
        reply = engine.send("SELECT length({s:String})", method="GET", param_s="x" * length)
        assert reply.text == f"{length}\n"
    reply = engine.send("SELECT length({s:String})", method="GET", param_s="x" * 2_000_000)
    assert (reply.status, reply.headers["x-clickhouse-exception-code"]) == (414, "309")


def test_bodies_larger_than_memory_holds(engine: EngineServer, table: str) -> None:
    """Past 64 MiB the rows of an insert wait on the disk, and are all stored."""
    engine.ask(f"CREATE TABLE {table} (s String) ENGINE = MergeTree ORDER BY tuple()")
    body = b"".join(b"%0999d\n" % n for n in range(75_000))
    assert engine.send(f"INSERT INTO steptrail.{table} FORMAT TSV", body).status == 200
    assert (
        engine.ask(f"SELECT count(), uniqExact(s), sum(length(s)) FROM {table}") == "75000\t75000\t74925000"
    )


def test_paths_and_methods(engine: EngineServer) -> None:
    """What is not the interface says so."""
    assert engine.send(method="GET", path="/play").status == 404
    assert engine.send(method="DELETE", path="/").status == 405


def test_curl(engine: EngineServer, table: str) -> None:
    """curl works as ClickHouse's documentation shows it."""
    curl = shutil.which("curl")
    assert curl, "curl is needed for this test: install it"
    url = f"http://127.0.0.1:{engine.port}/"

    def run(*arguments: str, data: bytes = b"") -> str:
        command = [curl, "-sS", "--fail-with-body", "-u", f"default:{engine.password}", *arguments]
        return subprocess.run(
            command, input=data, check=True, capture_output=True, timeout=300
        ).stdout.decode()

    assert run(f"{url}?query=SELECT%201") == "1\n"
    assert run(url, "-d", "SELECT 1 + 1") == "2\n"
    run(f"{url}?database=steptrail", "-d", f"CREATE TABLE {table} (a UInt8) ENGINE = Memory")
    run(f"{url}?query=INSERT%20INTO%20steptrail.{table}%20VALUES", "--data-binary", "@-", data=b"(1),(2),(3)")
    chunked = ("-H", "Transfer-Encoding: chunked", "--data-binary", "@-")
    run(f"{url}?query=INSERT%20INTO%20steptrail.{table}%20FORMAT%20TSV", *chunked, data=b"4\n5\n")
    assert (
        run(f"{url}?param_n=2", "-d", f"SELECT sum(a) FROM steptrail.{table} WHERE a > {{n:UInt8}}") == "12\n"
    )
    packed = run(
        "--compressed", f"{url}?enable_http_compression=1", "-d", "SELECT max(number) FROM numbers(1e6)"
    )
    assert packed == "999999\n"
    uploaded = run(
        "-F",
        "t=@-;filename=x",
        f"{url}?query=SELECT%20sum(n)%20FROM%20t&t_structure=n%20UInt8",
        data=b"1\n2\n",
    )
    assert uploaded == "3\n"
