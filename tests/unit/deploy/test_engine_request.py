"""What the engine server reads out of an address, headers and forms."""

from __future__ import annotations

import pytest

from steptrail.deploy.engine import native
from steptrail.deploy.engine.errors import EngineError, from_engine, http_status
from steptrail.deploy.engine.formats import canonical, content_type, is_streamed
from steptrail.deploy.engine.multipart import boundary_of, parse_form
from steptrail.deploy.engine.request import parse_query_string, read_request


def test_sorting() -> None:
    """Transport keys, parameters and settings are told apart."""
    raw = b"query=SELECT+1&database=d&param_n=5&max_threads=2&session_id=s&session_timeout=9&wait_end_of_query=1"
    raw += b"&enable_http_compression=1&query_id=q&default_format=CSV&role=r&client_protocol_version=54405&param_e="
    request = read_request("POST", parse_query_string(raw), {})
    assert (request.query, request.database, request.parameters) == (b"SELECT 1", "d", {"n": "5", "e": ""})
    assert request.settings == {"max_threads": "2"}
    assert (request.session_id, request.session_timeout, request.query_id) == ("s", 9.0, "q")
    assert request.wait_end
    assert request.revision == 54405
    assert not request.compress_blocks
    assert request.compress_response
    assert request.default_format == "CSV"
    assert not request.readonly
    assert read_request("GET", [], {}).readonly
    assert len(read_request("GET", [], {}).query_id) == 36


def test_headers() -> None:
    """Database and format may stand in headers; the address has the last word."""
    headers = {"x-clickhouse-database": "h", "x-clickhouse-format": "XML"}
    assert read_request("POST", [], headers).database == "h"
    request = read_request("POST", [("database", "a")], headers)
    assert (request.database, request.default_format) == ("a", "XML")


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("client_protocol_version", "new", 36),
        ("client_protocol_version", "-1", 36),
        ("max threads", "1", 115),
        ("a = 1, b", "1", 115),
        ("session_timeout", "-1", 36),
        ("session_timeout", "soon", 36),
    ],
)
def test_refused(key: str, value: str, code: int) -> None:
    """What is not taken is refused with its code."""
    with pytest.raises(EngineError) as caught:
        read_request("POST", [(key, value)], {})
    assert caught.value.code == code


def test_bytes_that_are_not_utf8() -> None:
    """They come through an address unharmed."""
    request = read_request("POST", parse_query_string(b"query=SELECT+'%FF%00'"), {})
    assert request.query == b"SELECT '\xff\x00'"


def test_external_tables() -> None:
    """An uploaded file becomes a table by its structure, or by its types."""
    pairs = [("t_structure", "a UInt8"), ("t_format", "CSV"), ("u_types", "Decimal(9, 2),String")]
    request = read_request("POST", pairs, {}, {"t": b"1", "u": b"2"})
    assert request.externals["t"] == ("CSV", "a UInt8", b"1")
    assert request.externals["u"] == ("TabSeparated", "_1 Decimal(9, 2), _2 String", b"2")
    with pytest.raises(EngineError, match="t_structure"):
        read_request("POST", [], {}, {"t": b"1"})
    with pytest.raises(EngineError, match="not a name"):
        read_request("POST", [], {}, {"t`; DROP": b"1"})


def test_forms() -> None:
    """A form's fields and files are read, with line ends and dashes in the content."""
    boundary = boundary_of('multipart/form-data; boundary="x-y"')
    assert boundary == b"x-y"
    body = (
        b'--x-y\r\nContent-Disposition: form-data; name="param_a"\r\n\r\n1\r\n--\r\n2\r\n'
        b'--x-y\r\nContent-Disposition: form-data; name="t"; filename="t.csv"\r\nContent-Type: text/csv\r\n\r\n'
        b"\r\n\x00\xff\r\n\r\n--x-y--\r\n"
    )
    assert parse_form(body, boundary) == ([("param_a", "1\r\n--\r\n2")], {"t": b"\r\n\x00\xff\r\n"})
    with pytest.raises(EngineError, match="cut off"):
        parse_form(body[:-20], boundary)
    assert boundary_of("text/plain") is None


def test_errors() -> None:
    """The engine's text keeps its code and name; a bare text gets a code of its own."""
    error = from_engine(
        "Code: 60. DB::Exception: Table a.b does not exist. (UNKNOWN_TABLE) (version 26.9.2.1)"
    )
    assert (error.code, error.status, error.name) == (60, 404, "UNKNOWN_TABLE")
    wrapped = from_engine(
        RuntimeError("Streaming failed: Code: 241. DB::Exception: no (MEMORY_LIMIT_EXCEEDED)")
    )
    assert (wrapped.code, wrapped.status) == (241, 500)
    assert str(wrapped).startswith("Code: 241. ")
    bare = from_engine(RuntimeError("something"))
    assert str(bare) == "Code: 1001. DB::Exception: something (STD_EXCEPTION)"
    assert str(EngineError(216, "x")) == "Code: 216. DB::Exception: x (QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING)"
    assert [http_status(code) for code in (62, 516, 159, 48, 12345)] == [400, 403, 408, 501, 500]


def test_formats() -> None:
    """Only formats without header, footer and separators are streamed."""
    assert all(map(is_streamed, ("Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow")))
    assert not any(map(is_streamed, ("JSON", "CSVWithNames", "Parquet", "Arrow", "XML", "Values", "Avro")))
    assert canonical("TSV") == "TabSeparated"
    assert content_type("JSON").startswith("application/json")
    assert content_type("Native") == "application/octet-stream"
    assert native.header([("a", "UInt8"), ("é" * 100, "String")], 0) == (
        b"\x02\x00\x01a\x05UInt8\xc8\x01" + "é".encode() * 100 + b"\x06String"
    )
