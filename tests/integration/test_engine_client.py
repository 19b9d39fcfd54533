"""clickhouse-connect over HTTP against the engine server: everything that a program does with it."""

from __future__ import annotations

import datetime as dt
import io
import ipaddress
import uuid
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from clickhouse_connect.driver.external import ExternalData
from clickhouse_connect.driver.httpclient import HttpClient
from clickhouse_connect.driver.summary import QuerySummary

from support.engine import EngineServer, engine, table

__all__ = ["engine", "table"]
UTC = dt.timezone.utc


@pytest.fixture
def client(engine: EngineServer) -> HttpClient:
    return engine.client(autogenerate_session_id=False)


def avro(rows: int) -> bytes:
    schema = {
        "type": "record",
        "name": "row",
        "fields": [{"name": "id", "type": "long"}, {"name": "s", "type": "string"}],
    }
    file = io.BytesIO()
    fastavro.writer(file, schema, ({"id": n, "s": f"text {n}" * 10} for n in range(rows)))
    return file.getvalue()


def test_server_facts(client: HttpClient) -> None:
    """A client learns version, time zone and settings when it connects, and a ping is answered."""
    assert client.server_version == client.command("SELECT version()")
    assert "max_execution_time" in client.server_settings
    assert client.ping()


def test_query_types(client: HttpClient) -> None:
    """Values of many types come back as what they are."""
    result = client.query(
        """
        SELECT 1::UInt8 AS a, -5::Int64 AS b, 'naïve ☃' AS c, NULL::Nullable(String) AS d, [1, 2] AS e,
            map('k', 1) AS f, (1, 'x') AS g, toDate('2026-01-02') AS h,
            toDateTime64('2026-01-02 03:04:05.678901', 6, 'UTC') AS i,
            toUUID('00000000-0000-0000-0000-000000000007') AS j, 1.5::Float64 AS k,
            toDecimal64('12.3400', 4) AS l, 'low'::LowCardinality(String) AS m,
            CAST('b' AS Enum8('a' = 0, 'b' = 1)) AS n, toIPv4('10.0.0.1') AS o, true AS p,
            toFixedString('ab', 2) AS q
        """
    )
    assert result.result_rows == [
        (
            *(1, -5, "naïve ☃", None, [1, 2], {"k": 1}, (1, "x"), dt.date(2026, 1, 2)),
            *(dt.datetime.fromisoformat("2026-01-02T03:04:05.678901"), uuid.UUID(int=7)),
            *(1.5, Decimal("12.3400"), "low", "b", ipaddress.IPv4Address("10.0.0.1"), True, b"ab"),
        )
    ]
    assert result.column_names[:3] == ("a", "b", "c")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("UInt64", 2**64 - 1, 2**64 - 1),
        ("Int8", -128, -128),
        ("Float64", 0.1, 0.1),
        ("String", 'it\'s \\ a \t tab\n☃ "q" {x}', 'it\'s \\ a \t tab\n☃ "q" {x}'),
        ("String", "", ""),
        ("Nullable(String)", None, None),
        ("Bool", True, True),
        ("Date", dt.date(2026, 2, 28), dt.date(2026, 2, 28)),
        ("Array(String)", ["a'b", "c\\d", "e\nf"], ["a'b", "c\\d", "e\nf"]),
        ("Array(UInt32)", [], []),
        ("Tuple(String, UInt8)", ("a'", 1), ("a'", 1)),
        ("UUID", uuid.UUID(int=5), uuid.UUID(int=5)),
        ("Array(Nullable(String))", ["x", None], ["x", None]),
    ],
)
def test_parameters(client: HttpClient, kind: str, value: Any, expected: Any) -> None:
    """The server binds parameters: no value of any type reads as SQL."""
    result = client.query(f"SELECT {{value:{kind}}} AS v", parameters={"value": value})
    assert result.result_rows == [(expected,)]


def test_parameter_identifier_and_time(client: HttpClient) -> None:
    """Identifiers and times with microseconds are bound as well."""
    at = dt.datetime(2026, 1, 2, 3, 4, 5, 600001, tzinfo=UTC)
    sql = "SELECT {at:DateTime64(6, 'UTC')} AS t, {col:Identifier} FROM (SELECT 7 AS `odd name`)"
    rows = client.query(sql, parameters={"at": at.replace(tzinfo=None), "col": "odd name"}).result_rows
    assert rows[0][1] == 7
    assert rows[0][0].replace(tzinfo=UTC).replace(microsecond=0) == at.replace(microsecond=0)


def test_empty_result_has_columns(client: HttpClient) -> None:
    """A result without rows still has its columns' names and types."""
    result = client.query("SELECT number AS n, toString(number) AS s FROM numbers(10) WHERE number > 99")
    assert result.result_rows == []
    assert result.column_names == ("n", "s")
    assert [kind.name for kind in result.column_types] == ["UInt64", "String"]


def test_empty_results_of_every_shape(client: HttpClient) -> None:
    """Columns are known of empty results with parameters, settings, WITH, UNION and of SHOW."""
    for sql in (
        "WITH 1 AS one SELECT one, number FROM numbers(1) WHERE number > {n:UInt8} SETTINGS max_threads = 1",
        "SELECT 1 AS one, 2 AS number WHERE 0 UNION ALL SELECT 3, 4 WHERE 0",
        "(SELECT 1 AS one, 2 AS number WHERE 0)",
        "SELECT 1 AS one, 2 AS number WHERE 0 -- said at the end",
    ):
        assert client.query(sql, parameters={"n": 5}).column_names == ("one", "number"), sql
    assert client.query("SHOW TABLES LIKE 'no such table'").result_rows == []


def test_columns_only_probe(client: HttpClient) -> None:
    """LIMIT 0 asks for the columns alone."""
    assert client.query("SELECT 1 AS a, 'x' AS b LIMIT 0").column_names == ("a", "b")


def test_insert_rows(client: HttpClient, table: str) -> None:
    """insert() sends Native blocks: nullable, low-cardinality, nested and time columns."""
    client.command(
        f"CREATE TABLE {table} (id UInt64, l LowCardinality(Nullable(String)), t DateTime64(6, 'UTC'), "
        "a Array(String), m Map(String, UInt8), f Nullable(Float64)) ENGINE = MergeTree ORDER BY id"
    )
    at = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    rows: list[list[Any]] = [[1, "x", at, ["a", "b"], {"k": 1}, None], [2, None, at, [], {}, 1.5]]
    summary = client.insert(table, rows, column_names=["id", "l", "t", "a", "m", "f"])
    assert summary.written_rows == 2
    naive = at.replace(tzinfo=None)
    assert client.query(f"SELECT * FROM {table} ORDER BY id").result_rows == [
        (1, "x", naive, ["a", "b"], {"k": 1}, None),
        (2, None, naive, [], {}, 1.5),
    ]


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", False])
def test_insert_large_compressed(engine: EngineServer, table: str, compress: str | bool) -> None:
    """A body of many compressed frames is stored to the last row, and read back whole."""
    client = engine.client(compress=compress)
    client.command(f"CREATE TABLE {table} (id UInt64, s String) ENGINE = Memory")
    rows = 300_000
    columns: list[list[Any]] = [list(range(rows)), ["word"] * rows]
    client.insert(table, columns, column_oriented=True)
    assert client.command(f"SELECT uniqExact(id) FROM {table}") == rows
    ids = client.query(f"SELECT id FROM {table} ORDER BY id").result_columns[0]
    assert list(ids) == list(range(rows))


@pytest.mark.parametrize("compression", [None, "lz4", "zstd", "gzip"])
def test_raw_insert(client: HttpClient, table: str, compression: str | None) -> None:
    """raw_insert() takes bytes of any format, compressed or not."""
    client.command(f"CREATE TABLE {table} (id UInt64, s String) ENGINE = Memory")
    data = b"".join(b'{"id": %d, "s": "line"}\n' % n for n in range(1000))
    if compression == "lz4":
        import lz4.frame

        data = lz4.frame.compress(data[:5000]) + lz4.frame.compress(data[5000:])
    elif compression == "zstd":
        import zstandard

        half = zstandard.ZstdCompressor()
        data = half.compress(data[:5000]) + half.compress(data[5000:])
    elif compression == "gzip":
        import gzip

        data = gzip.compress(data[:5000]) + gzip.compress(data[5000:])
    client.raw_insert(
        table, column_names=["id", "s"], insert_block=data, fmt="JSONEachRow", compression=compression
    )
    assert client.command(f"SELECT count() FROM {table}") == 1000


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("CSV", b'1,"a;b"\n2,"c"\n'),
        ("TSV", b"1\ta;b\n2\tc\n"),
        ("TabSeparatedWithNames", b"id\ts\n1\ta;b\n2\tc\n"),
        ("JSONEachRow", b'{"id":1,"s":"a;b"}\n{"id":2,"s":"c"}'),
        ("RowBinary", b"\x01" + bytes(7) + b"\x03a;b" + b"\x02" + bytes(7) + b"\x01c"),
        ("Values", b"(1, 'a;b'), (1 + 1, lower('C'))"),
    ],
)
def test_insert_formats(client: HttpClient, table: str, form: str, data: bytes) -> None:
    """command() with data inserts rows in any format; a semicolon in the data is data."""
    client.command(f"CREATE TABLE {table} (id UInt64, s String) ENGINE = Memory")
    client.command(f"INSERT INTO {table} (id, s) FORMAT {form}", data=data)
    assert client.query(f"SELECT * FROM {table} ORDER BY id").result_rows == [(1, "a;b"), (2, "c")]


def test_insert_avro(client: HttpClient, table: str) -> None:
    """A batch in Avro becomes one part, with the settings that the projector gives."""
    client.command(f"CREATE TABLE {table} (id UInt64, s String) ENGINE = MergeTree ORDER BY id")
    summary = client.command(
        f"INSERT INTO {table} FORMAT Avro",
        data=avro(50_000),
        settings={"log_comment": "steptrail/x/1/,0,", "async_insert": 0, "max_execution_time": 60},
    )
    assert isinstance(summary, QuerySummary)
    assert summary.written_rows == 50_000
    parts = client.query(
        f"SELECT count(), sum(rows) FROM system.parts WHERE database = 'steptrail' AND table = '{table}' AND active"
    )
    assert parts.result_rows == [(1, 50_000)]


def test_insert_values_and_select(client: HttpClient, table: str) -> None:
    """INSERT … VALUES and INSERT … SELECT, with bound parameters."""
    client.command(f"CREATE TABLE {table} (id UInt64, s String) ENGINE = Memory")
    client.command(f"INSERT INTO {table} VALUES (1, 'a'), (2, {{s:String}})", parameters={"s": "it's"})
    client.command(f"INSERT INTO {table} SELECT id + {{n:UInt8}}, s FROM {table}", parameters={"n": 10})
    assert client.query(f"SELECT id, s FROM {table} ORDER BY id").result_rows == [
        (1, "a"),
        (2, "it's"),
        (11, "a"),
        (12, "it's"),
    ]


def test_failed_insert_writes_nothing(client: HttpClient, table: str) -> None:
    """A body with a bad row is refused with the row's error, and stores none of it."""
    client.command(f"CREATE TABLE {table} (id UInt64) ENGINE = MergeTree ORDER BY id")
    with pytest.raises(Exception, match="CANNOT_PARSE_INPUT_ASSERTION_FAILED"):
        client.command(f"INSERT INTO {table} FORMAT TSV", data=b"1\n2\nthree\n")
    assert client.command(f"SELECT count() FROM {table}") == 0


def test_streams(client: HttpClient) -> None:
    """Rows come in blocks, columns in blocks, and raw bytes as a stream."""
    sql = "SELECT number, toString(number) AS s FROM numbers(500000)"
    with client.query_row_block_stream(sql) as blocks:
        assert sum(len(block) for block in blocks) == 500_000
    with client.query_column_block_stream(sql) as columns:
        assert sum(len(block[0]) for block in columns) == 500_000
    with client.raw_stream(sql, fmt="CSV") as raw:
        assert raw.read().count(b"\n") == 500_000


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("TSV", b"0\ta\n1\ta\n"),
        ("CSV", b'0,"a"\n1,"a"\n'),
        ("JSONEachRow", b'{"n":0,"s":"a"}\n{"n":1,"s":"a"}\n'),
        ("JSONCompactEachRow", b'[0, "a"]\n[1, "a"]\n'),
        ("TSVWithNames", b"n\ts\n0\ta\n1\ta\n"),
        ("Values", b"(0,'a'),(1,'a')"),
    ],
)
def test_raw_query_formats(client: HttpClient, form: str, body: bytes) -> None:
    """Other formats come as the engine writes them."""
    assert client.raw_query("SELECT toUInt8(number) AS n, 'a' AS s FROM numbers(2)", fmt=form) == body


def test_formats_over_many_blocks(client: HttpClient) -> None:
    """A result of several blocks is one document, in formats that have a header or a footer as well."""
    sql = "SELECT number AS n FROM numbers(200000)"
    for form, lines in (("CSVWithNames", 200_001), ("TSV", 200_000), ("JSONCompactEachRow", 200_000)):
        assert client.raw_query(sql, fmt=form).count(b"\n") == lines
    assert client.raw_query(sql, fmt="JSON").count(b'"meta"') == 1
    arrays = client.raw_query(sql, fmt="JSONEachRow", settings={"output_format_json_array_of_rows": 1})
    assert (arrays.count(b"["), arrays.count(b"]")) == (1, 1)


def test_totals_and_extremes(client: HttpClient) -> None:
    """What follows the rows in TSV is not lost in the stream."""
    sql = "SELECT number % 2 AS g, count() FROM numbers(10) GROUP BY g WITH TOTALS ORDER BY g"
    assert client.raw_query(sql, fmt="TSV") == b"0\t5\n1\t5\n\n0\t10\n"


def test_settings(client: HttpClient) -> None:
    """Settings hold for one request, and are refused by name when there is no such one."""
    sql = "SELECT getSetting('max_block_size'), getSetting('log_comment')"
    settings = {"max_block_size": 777, "log_comment": "it's \\ mine"}
    assert client.query(sql, settings=settings).result_rows == [(777, "it's \\ mine")]
    assert client.query(sql).result_rows[0][1] == ""
    result = client.raw_query("SELECT 1", settings={"min_insert_block_size_rows": 5})
    assert result == b"1\n"


def test_commands(client: HttpClient) -> None:
    """command() gives numbers, texts, lists, and a summary where there is no output."""
    assert client.command("SELECT 42") == 42
    assert client.command("SELECT 'a'") == "a"
    assert client.command("SELECT 'a', 'b'") == ["a", "b"]
    assert client.command("SHOW DATABASES LIKE 'steptrail'") == "steptrail"
    assert client.command("EXISTS TABLE system.one") == 1


def test_external_data(client: HttpClient) -> None:
    """A file sent with a query is a table of that query."""
    external = ExternalData(
        file_name="people.csv", fmt="CSV", structure=["name String", "age UInt8"], data=b'"Ann",5\n"Bob",7\n'
    )
    rows = client.query("SELECT name FROM people WHERE age > 6", external_data=external).result_rows
    assert rows == [("Bob",)]
    with pytest.raises(Exception, match="UNKNOWN_TABLE"):
        client.query("SELECT name FROM people")


def test_many_parameters_as_a_form(client: HttpClient) -> None:
    """Parameters too long for an address come as a form."""
    client.form_encode_query_params = True
    rows = client.query("SELECT length({s:String}), {n:UInt8}", parameters={"s": "x" * 100_000, "n": 3})
    assert rows.result_rows == [(100_000, 3)]


def test_statement_larger_than_the_head(client: HttpClient) -> None:
    """A statement of a megabyte is read to its end."""
    numbers = ",".join(map(str, range(150_000)))
    sql = f"SELECT count() FROM numbers(200000) WHERE number IN ({numbers})"
    assert client.query(sql, settings={"max_query_size": 10_000_000}).result_rows == [(150_000,)]


def test_arrow(client: HttpClient) -> None:
    """Arrow comes whole, over many blocks."""
    plain = {"output_format_arrow_compression_method": "none"}
    arrow = client.raw_query("SELECT number FROM numbers(100000)", fmt="ArrowStream", settings=plain)
    assert len(arrow) > 800_000
