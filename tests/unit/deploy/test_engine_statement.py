"""How the engine server reads a statement's kind, format and data."""

from __future__ import annotations

import pytest

from steptrail.deploy.engine.statement import Kind, parse, replace_word


@pytest.mark.parametrize(
    ("sql", "kind", "form"),
    [
        (b"SELECT 1", Kind.SELECT, None),
        (b"select 1 format JSON", Kind.SELECT, "JSON"),
        (b"SELECT 1\n FORMAT Native;", Kind.SELECT, "Native"),
        (b"SELECT 1 FORMAT CSV SETTINGS max_threads = 1", Kind.SELECT, "CSV"),
        (b"-- FORMAT CSV\nSELECT 1 /* FORMAT TSV */ -- FORMAT XML", Kind.SELECT, None),
        (b"SELECT ' FORMAT CSV', `FORMAT CSV`, \"x FORMAT CSV\"", Kind.SELECT, None),
        (b"SELECT 'it''s \\' FORMAT CSV'", Kind.SELECT, None),
        (b"SELECT $tag$ FORMAT CSV $tag$ FORMAT TSV", Kind.SELECT, "TSV"),
        (b"SELECT (SELECT 1 FORMAT CSV)", Kind.SELECT, None),
        (b"WITH 1 AS x SELECT x", Kind.SELECT, None),
        (b"(SELECT 1) UNION ALL (SELECT 2) FORMAT CSV", Kind.SELECT, "CSV"),
        (b"SHOW TABLES", Kind.REPORT, None),
        (b"describe t", Kind.REPORT, None),
        (b"EXPLAIN SELECT 1", Kind.REPORT, None),
        (b"SET a = 1", Kind.SETTING, None),
        (b"USE x", Kind.SETTING, None),
        (b"KILL QUERY WHERE 1", Kind.KILL, None),
        (b"CREATE TABLE t AS SELECT 1", Kind.CHANGE, None),
        (b"SELECT 1 INTO OUTFILE 'x'", Kind.CHANGE, None),
        (b"DROP TABLE t", Kind.OTHER, None),
        (b"INSERT INTO t SELECT * FROM u", Kind.WRITE, None),
        (b"INSERT INTO t (a) SELECT 1 FORMAT CSV", Kind.WRITE, "CSV"),
        (b"INSERT INTO t FROM INFILE 'x' FORMAT CSV", Kind.WRITE, None),
        (b"WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", Kind.WRITE, None),
        (b"", Kind.EMPTY, None),
        (b" \n-- nothing\n;", Kind.EMPTY, None),
    ],
)
def test_kinds(sql: bytes, kind: Kind, form: str | None) -> None:
    """Keywords count outside strings, quoted names, comments and brackets only."""
    statement = parse(sql)
    assert statement.kind is kind
    if not sql.startswith(b"INSERT INTO t FROM"):
        assert statement.format == form


@pytest.mark.parametrize(
    ("sql", "head", "settings", "form", "data"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2\n", b"INSERT INTO t ", b"", "CSV", b"1,2\n"),
        (b"insert into t format TSV  \r\nx", b"insert into t ", b"", "TSV", b"x"),
        (b"INSERT INTO t FORMAT TSV\n\nx", b"INSERT INTO t ", b"", "TSV", b"\nx"),
        (b"INSERT INTO t VALUES (1); (2)", b"INSERT INTO t ", b"", "Values", b" (1); (2)"),
        (
            b"INSERT INTO t (format, `values`) SETTINGS a = 1 FORMAT Native\n\x00\xff",
            b"INSERT INTO t (format, `values`) ",
            b"SETTINGS a = 1 ",
            "Native",
            b"\x00\xff",
        ),
        (b"INSERT INTO format FORMAT CSV\n1", b"INSERT INTO format ", b"", "CSV", b"1"),
        (b"INSERT INTO TABLE a.b FORMAT CSV", b"INSERT INTO TABLE a.b ", b"", "CSV", b""),
        (
            b"INSERT INTO FUNCTION f('x FORMAT y') FORMAT CSV\n1",
            b"INSERT INTO FUNCTION f('x FORMAT y') ",
            b"",
            "CSV",
            b"1",
        ),
        (b"INSERT INTO t -- FORMAT XML\n FORMAT CSV\n1", b"INSERT INTO t -- FORMAT XML\n ", b"", "CSV", b"1"),
    ],
)
def test_inserts(sql: bytes, head: bytes, settings: bytes, form: str, data: bytes) -> None:
    """An INSERT is cut into its head, its settings, its format and its rows, to the byte."""
    statement = parse(sql)
    assert statement.kind is Kind.INSERT
    assert (statement.head, statement.insert_settings, statement.format) == (head, settings, form)
    assert statement.sql[statement.data_start :] == data


def test_insert_without_rows_yet() -> None:
    """While FORMAT or VALUES is still to come, no data begins."""
    assert parse(b"INSERT INTO t (a, b) ").data_start is None


@pytest.mark.parametrize(
    ("sql", "several"),
    [
        (b"SELECT 1; SELECT 2", True),
        (b"SELECT 1;;; -- done", False),
        (b"SELECT ';' ; /* ; */", False),
        (b"INSERT INTO t SELECT 1; DROP TABLE t", True),
    ],
)
def test_several_statements(sql: bytes, several: bool) -> None:
    """A second statement is seen, a closing semicolon is none."""
    assert parse(sql).several is several


def test_without_format() -> None:
    """The FORMAT clause can be cut out, and what stands around it stays."""
    statement = parse(b"SELECT 'FORMAT x' FORMAT Native SETTINGS a = 1;")
    assert statement.without_format == b"SELECT 'FORMAT x'   SETTINGS a = 1"


def test_input_function_is_seen() -> None:
    """INSERT … SELECT FROM input() is told from a table named input."""
    assert parse(b"INSERT INTO t SELECT * FROM input('a Int8') FORMAT CSV\n1").takes_input
    assert not parse(b"INSERT INTO t SELECT * FROM input").takes_input


def test_replace_word() -> None:
    """A bare word is replaced, the same letters in a string are not."""
    sql = b"KILL QUERY WHERE query_id = 'query_id' AND Query_ID != my_query_id"
    assert replace_word(sql, b"QUERY_ID", b"X") == b"KILL QUERY WHERE X = 'query_id' AND X != my_query_id"
