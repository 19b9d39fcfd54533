"""Native blocks for clients that name a revision of the protocol, and ClickHouse's own block compression over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from steptrail.deploy.engine.blocks import BlockDecoder, BlockEncoder
from support.engine import EngineServer, engine, table

__all__ = ["engine", "table"]

INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"
TYPES = {
    "UInt8": "1",
    "String": "'naïve ☃'",
    "LowCardinality(String)": "'low'",
    "LowCardinality(Nullable(String))": "NULL",
    "Nullable(UInt64)": "NULL",
    "Array(LowCardinality(String))": "['a', 'b']",
    "Map(String, UInt8)": "map('k', 1)",
    "Tuple(a UInt8, b Array(String))": "(1, ['x'])",
    "Variant(String, UInt8)": "'v'",
    "Dynamic": "1",
    "JSON": """'{"a": [1, 2], "b": {"c": null}}'""",
    "DateTime64(6, 'UTC')": "'2026-01-02 03:04:05.678901'",
    "Enum8('ERROR' = 5)": "'ERROR'",
    "UUID": "'00000000-0000-0000-0000-000000000007'",
    "FixedString(4)": "'ab'",
    "AggregateFunction(sum, UInt8)": "arrayReduce('sumState', [1])",
    "Decimal(18, 4)": "'12.34'",
}


def text(value: str) -> bytes:
    encoded = value.encode()
    assert len(encoded) < 128
    return bytes([len(encoded)]) + encoded


@pytest.mark.parametrize("kind", TYPES)
def test_a_revision_adds_its_marks(engine: EngineServer, kind: str) -> None:
    """Block info comes with any revision, the mark of the serialization from 54454 on; the values stay as they are."""
    query = f"SELECT CAST(({TYPES[kind]}) AS {kind}) AS v"
    plain = engine.send(query + " FORMAT Native", b"").body
    head = b"\x01\x01" + text("v") + text(kind)
    assert plain.startswith(head)
    for revision, wanted in (
        (54405, INFO + plain),
        (54453, INFO + plain),
        (54454, INFO + head + b"\0" + plain[len(head) :]),
        (54483, INFO + head + b"\0" + plain[len(head) :]),
    ):
        reply = engine.send(query, b"", default_format="Native", client_protocol_version=revision)
        assert (reply.status, reply.body) == (200, wanted), revision
        assert reply.headers["x-clickhouse-format"] == "Native"


@pytest.mark.parametrize("revision", [0, 54405, 54454])
def test_many_blocks(engine: EngineServer, revision: int) -> None:
    """Each block of a long answer has its marks, and all the rows are there."""
    query = "SELECT number FROM numbers(200000) FORMAT Native"
    body = engine.send(query, b"", client_protocol_version=revision, max_block_size=65536).body
    values, position = [], 0
    while position < len(body):
        if revision:
            assert body[position : position + 8] == INFO
            position += 8
        assert body[position] == 1
        rows = shift = 0
        while True:
            position += 1
            rows |= (body[position] & 0x7F) << shift
            shift += 7
            if body[position] < 0x80:
                break
        head = text("number") + text("UInt64") + (b"\0" if revision >= 54454 else b"")
        assert body[position + 1 :].startswith(head)
        position += 1 + len(head)
        values += [int.from_bytes(body[i : i + 8], "little") for i in range(position, position + 8 * rows, 8)]
        position += 8 * rows
    assert values == list(range(200000))


@pytest.mark.parametrize(
    "query", ["SELECT 1 AS a WHERE 0", "SHOW TABLES LIKE 'no such table'", "DESCRIBE (SELECT 1)"]
)
def test_answers_without_rows_and_reports(engine: EngineServer, query: str) -> None:
    """They have their columns, each with its mark."""
    body = engine.send(query, b"", default_format="Native", client_protocol_version=54454).body
    assert body.startswith(INFO)
    assert text("String") + b"\0" in body or text("UInt8") + b"\0" in body


def test_the_library_for_python_uses_it(engine: EngineServer) -> None:
    """clickhouse-connect finds that the server heeds revisions, and reads the same values."""
    client = engine.client()
    assert client.protocol_version == 54405
    rows = client.query(
        "SELECT number, toString(number)::LowCardinality(String) FROM numbers(100000)"
    ).result_rows
    assert rows == [(number, str(number)) for number in range(100000)]


@pytest.mark.parametrize("method", ["LZ4", "ZSTD", "NONE"])
def test_compressed_answer(engine: EngineServer, method: str) -> None:
    """compress=1 gives frames, whatever the format; with Accept-Encoding they are encoded once more."""
    query = "SELECT number, 'x' FROM numbers(300000)"
    plain = engine.send(query, b"").body
    decoder = BlockDecoder()
    reply = engine.send(query, b"", compress=1, network_compression_method=method)
    assert decoder.decode(reply.body) == plain
    decoder.finish()
    wait = engine.send(query, b"", compress=1, network_compression_method=method, wait_end_of_query=1)
    assert BlockDecoder().decode(wait.body) == plain


@pytest.mark.parametrize("method", ["LZ4", "ZSTD", "NONE"])
def test_compressed_body(engine: EngineServer, table: str, method: str) -> None:
    """decompress=1: the statement, the rows, or both may be in frames."""
    frames = BlockEncoder(method)
    engine.ask(f"CREATE TABLE {table} (n UInt64) ENGINE = MergeTree ORDER BY n")
    rows = b"".join(b"%d\n" % n for n in range(400000))
    reply = engine.send(
        f"INSERT INTO {table} FORMAT TSV", frames.encode(rows), decompress=1, database="steptrail"
    )
    assert reply.status == 200, reply.text
    both = frames.encode(f"INSERT INTO {table} FORMAT TSV\n".encode() + b"1\n")
    assert engine.send(body=both, decompress=1, database="steptrail").status == 200
    assert engine.ask(f"SELECT count(), sum(n) FROM {table}") == f"400001\t{sum(range(400000)) + 1}"


def test_damaged_body(engine: EngineServer, table: str) -> None:
    """A frame with a wrong checksum stores nothing, unless the client asks not to look; half a frame never does."""
    engine.ask(f"CREATE TABLE {table} (n UInt64) ENGINE = MergeTree ORDER BY n")
    insert, frame = f"INSERT INTO {table} FORMAT TSV", BlockEncoder().encode(b"1\n")
    damaged = bytes([frame[0] ^ 1]) + frame[1:]
    given: dict[str, Any] = {"decompress": 1, "database": "steptrail"}
    assert engine.send(insert, damaged, **given).headers["x-clickhouse-exception-code"] == "40"
    assert engine.send(insert, frame[:-1], **given).headers["x-clickhouse-exception-code"] == "271"
    assert engine.ask(f"SELECT count() FROM {table}") == "0"
    loose = {**given, "http_native_compression_disable_checksumming_on_decompress": 1}
    assert engine.send(insert, damaged, **loose).status == 200
    assert engine.ask(f"SELECT count() FROM {table}") == "1"


@pytest.mark.parametrize("method", ["LZ4", "ZSTD"])
def test_fault_amid_frames(engine: EngineServer, method: str) -> None:
    """What was sent until a fault are whole frames; the exception stands behind them as it is."""
    query = "SELECT number, throwIf(number = 2000000, 'midway') FROM numbers(4000000)"
    reply = engine.send(query, b"", compress=1, network_compression_method=method)
    assert reply.broken
    frames, mark, told = reply.body.partition(b"\r\n__exception__\r\n")
    assert mark
    assert b"midway" in told
    decoder = BlockDecoder()
    assert decoder.decode(frames).startswith(b"0\t0\n1\t0\n")
    decoder.finish()
