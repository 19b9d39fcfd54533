"""No statement reaches files, programs or other machines through the engine server; a GET only reads."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.engine import EngineServer, engine, table

__all__ = ["engine", "table"]


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file of the user's that no statement may read or change."""
    path = tmp_path / "profile.tsv"
    path.write_text("topsecret\n")
    yield path
    assert path.read_text() == "topsecret\n"
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith("profile")] == ["profile.tsv"]


LONG = {
    "merge": "ENGINE = MergeTree ORDER BY x",
    "source": "PRIMARY KEY x SOURCE",
    "layout": "LAYOUT(FLAT()) LIFETIME(0)",
}
BYPASSES = [
    # the plain ones
    "SELECT * FROM file('{file}')",
    "SELECT file('{file}')",
    "SELECT 'x' INTO OUTFILE '{file}' APPEND FORMAT RawBLOB",
    "SELECT 'x' INTO OUTFILE '{file}2' FORMAT RawBLOB",
    "INSERT INTO FUNCTION file('{file}2', 'TSV', 'x String') SELECT 'x'",
    "INSERT INTO FUNCTION file('{file}2', 'TSV', 'x String') VALUES ('x')",
    "INSERT INTO {table} FROM INFILE '{file}' FORMAT TSV",
    "DESCRIBE file('{file}')",
    "EXPLAIN SELECT file('{file}')",
    "EXPLAIN SELECT 1 INTO OUTFILE '{file}2'",
    # written in another way
    "sElEcT/**/file/**/('{file}')",
    "SELECT file -- comment\n('{file}')",
    "SELECT `file`('{file}')",
    "SELECT \"file\"('{file}')",
    "SELECT \"fi\\x6ce\"('{file}')",
    "SELECT `\\x66\\x69\\x6c\\x65`('{file}')",
    "SELECT \u201cfile\u201d('{file}')",
    "SELECT * FROM \"fi\\x6ce\"('{file}')",
    "SELECT 'x' into /* */ outfile '{file}2'",
    "WITH file('{file}') AS x SELECT x",
    "WITH (SELECT file('{file}')) AS x SELECT x",
    "SELECT 1 WHERE throwIf(file('{file}') = 'topsecret\\n')",
    "SELECT (p -> file(p))('{file}')",
    # handed on as a function
    "SELECT arrayMap(file, ['{file}'])",
    "SELECT arrayMap(`file`, ['{file}'])",
    "SELECT arrayFold((a, x) -> file(x), ['{file}'], '')",
    "SELECT * APPLY file FROM (SELECT '{file}')",
    "SELECT * APPLY(file) FROM (SELECT '{file}')",
    "SELECT COLUMNS('.*') APPLY(x -> file(x)) FROM (SELECT '{file}' AS x)",
    # put together out of pieces, for a text that is parsed as SQL later
    "SELECT * FROM format(Values, 'x String', concat('(fi', 'le(\\'{file}\\'))'))",
    "SELECT * FROM `format`(Values, 'x String', concat('(fi', 'le(\\'{file}\\'))'))",
    "SELECT * FROM format/**/('Values', 'x String', concat('(fi', 'le(\\'{file}\\'))'))",
    "SELECT * FROM format(JSONEachRow, concat('a Int8, b String DEFAULT fi', 'le(\\'{file}\\')'), '{{\"a\": 1}}')",
    "INSERT INTO FUNCTION null(concat('a Int8, b Bool DEFAULT throwIf(fi', 'le(\\'{file}\\') != 1)')) (a) SELECT 1",
    "INSERT INTO FUNCTION null('a Int8, b Bool DEFAULT throwIf(file(\\'{file}\\') != \\'\\')') (a) SELECT 1",
    "SELECT * FROM generateRandom(concat('a Int8, b String ALIAS fi', 'le(\\'{file}\\')')) LIMIT 1",
    "SELECT * FROM eval('SELECT 1')",
    "SELECT * FROM eval('SELECT 1') SETTINGS allow_experimental_eval_table_function = 1",
    "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT 1))",
    "INSERT INTO {table} VALUES (file('{file}'))",
    "INSERT INTO {table} VALUES (\"fi\\x6ce\"('{file}'))",
    "INSERT INTO {table} SETTINGS input_format_values_interpret_expressions = 1 VALUES (file('{file}'))",
    "INSERT INTO {table} VALUES ((SELECT * FROM format(Values, 'x String', concat('(fi', 'le(\\'{file}\\'))'))))",
    # rows that the server does not see as rows
    "INSERT INTO {table} FORMAT `Values` (file('{file}'))",
    "INSERT INTO {table} FORMAT \"V\\x61lues\" (file('{file}'))",
    "INSERT INTO {table} (w) FORMAT/**/`Values`(file('{file}'))",
    "INSERT INTO FUNCTION null((SELECT 'x String')) FORMAT `Values` (file('{file}'))",
    "INSERT INTO {table} (SELECT * FROM input('w String')) FORMAT Values (file('{file}'))",
    "INSERT INTO {table} FORMAT MySQLDump\nINSERT INTO {table} VALUES (file('{file}'));",
    "INSERT INTO steptrail.SELECT FORMAT `Values` (file('{file}'))",
    "INSERT INTO TABLE {table} (w) SETTINGS async_insert = 0 FORMAT `Values` (file('{file}'))",
    "WITH 1 AS a INSERT INTO {table} VALUES (file('{file}'))",
    "\u00a0INSERT INTO {table} VALUES (file('{file}'))",
    "INSERT\u00a0INTO\u00a0{table} FORMAT\u00a0Values (file('{file}'))",
    "SELECT * FROM format\u00a0(Values, 'x String', concat('(fi', 'le(\\'{file}\\'))'))",
    # settings
    "SELECT 1 SETTINGS dialect = 'prql'",
    "SET dialect = 'kusto'",
    "SELECT * FROM {table} SETTINGS additional_table_filters = {{'{table}': '1'}}",
    "SELECT 1 SETTINGS additional_result_filter = '1'",
    "SELECT 1 FORMAT Template SETTINGS format_template_row = '{file}'",
    "SELECT 1 FORMAT Protobuf SETTINGS format_schema = '{file}:x'",
    "SELECT 1 SETTINGS output_format_schema = '{file}2'",
    "SELECT 1 SETTINGS input_format_record_errors_file_path = '{file}2'",
    "SET format_avro_schema_registry_url = 'http://127.0.0.1:1/'",
    # tables and databases that are files
    "SELECT * FROM '{file}'",
    "SELECT * FROM `{file}`",
    "SELECT * FROM default.`{file}`",
    "SELECT * FROM filesystem('/')",
    "DESCRIBE '{file}'",
    "CREATE DATABASE {table}_d ENGINE = Filesystem('/')",
    "CREATE DATABASE {table}_d ENGINE = SQLite('{file}')",
    "CREATE TABLE {table}_2 (x String) ENGINE = File(TSV, '{file}2')",
    "CREATE TABLE {table}_2 (x String) ENGINE = URL('http://127.0.0.1:1/', TSV)",
    "CREATE TABLE {table}_2 (x String) ENGINE = S3('http://127.0.0.1:1/x', TSV)",
    "CREATE TABLE {table}_2 (x String) ENGINE = Executable('x', TSV)",
    "CREATE TABLE {table}_2 (x String) ENGINE = Kafka('127.0.0.1:1', 't', 'g', 'TSV')",
    "CREATE TABLE {table}_2 (x String) ENGINE = Distributed('default', 'steptrail', '{table}')",
    "CREATE TABLE {table}_2 AS file('{file}')",
    "CREATE TABLE {table}_2 (x String) {merge} SETTINGS disk = disk(type = local, path = '{folder}/d/')",
    "CREATE TABLE {table}_2 (x String) {merge} SETTINGS disk = disk(type = web, endpoint = 'http://127.0.0.1:1/')",
    "CREATE TEMPORARY TABLE {table}_2 (x String) ENGINE = File(TSV)",
    "CREATE TABLE {table}_2 (x String) ENGINE = Buffer(default, `{file}`, 1, 1, 1, 1, 1, 1, 1)",
    "CREATE TABLE {table}_2 (x String) /**/ engine/**/=/**/`Buffer`(default, `{file}`, 1, 1, 1, 1, 1, 1, 1)",
    "CREATE TABLE {table}_2 (x String) ENGINE Buffer(default, `{file}`, 1, 1, 1, 1, 1, 1, 1)",
    "CREATE TABLE {table}_2 ENGINE = Alias(default, `{file}`)",
    "CREATE MATERIALIZED VIEW {table}_2 ENGINE = Buffer(default, `{file}`, 1, 1, 1, 1, 1, 1, 1) AS SELECT 1",
    "SELECT * FROM loop(default, `{file}`) LIMIT 1",
    "SELECT * FROM mergeTreeIndex(default, `{file}`)",
    "CREATE TABLE {table}_2 AS default.`{file}`",
    "CREATE MATERIALIZED VIEW {table}_2 TO default.`{file}2` AS SELECT w FROM {table}",
    "CREATE VIEW {table}_2 (c1 String) SQL SECURITY NONE AS SELECT * FROM default.`{file}`",
    "RENAME TABLE {table} TO default.`{file}2`",
    "DROP TABLE default.`{file}`",
    "CREATE VIEW {table}_2 AS SELECT * FROM file('{file}')",
    "CREATE VIEW {table}_2 AS SELECT file('{file}')",
    "CREATE TABLE {table}_2 (x String DEFAULT file('{file}')) ENGINE = Memory",
    "CREATE FUNCTION {table}_f AS x -> file(x)",
    "ALTER TABLE {table} ADD COLUMN y String DEFAULT file('{file}')",
    "ALTER TABLE {table} UPDATE w = file('{file}') WHERE 1",
    "CREATE DICTIONARY {table}_2 (x String) {source}(FILE(path '{file}' format 'TSV')) {layout}",
    "CREATE DICTIONARY {table}_2 (x String) {source}(HTTP(url 'http://127.0.0.1:1/' format 'TSV')) {layout}",
    "ATTACH TABLE {table}_2 FROM '{folder}' (x String) ENGINE = MergeTree ORDER BY x",
    "BACKUP TABLE {table} TO File('{folder}/b')",
    "BACKUP TABLE {table} TO Disk('default', 'b')",
    "RESTORE TABLE {table} FROM File('{folder}/b')",
    "BACKUP TABLE {table} TO Disk('backups', '../b')",
    "BACKUP TABLE {table} TO Disk('backups', '{folder}/b')",
    "BACKUP TABLE {table} TO S3('http://127.0.0.1:1/x')",
    "BACKUP TABLE {table} TO Disk('backups', 'b') SETTINGS base_backup = File('{file}')",
    "SELECT * FROM Disk('backups', 'b')",
    "RESTORE TABLE {table} FROM Disk('backups', '../data')",
    # other machines, programs, this process
    "SELECT * FROM url('http://127.0.0.1:1/', 'TSV', 'x String')",
    "DESCRIBE url('http://127.0.0.1:1/')",
    "SELECT * FROM s3('http://127.0.0.1:1/x')",
    "SELECT * FROM remote('127.0.0.1:1', system.one)",
    "SELECT * FROM cluster('default', system.one)",
    "SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    "SELECT * FROM sqlite('{file}', 't')",
    "SELECT * FROM executable('x', 'TSV', 'x String')",
    "SELECT * FROM python(password)",
    "SELECT aiGenerate('x')",
    "SYSTEM SHUTDOWN",
    "SYSTEM RELOAD CONFIG",
    # more rights
    "CREATE USER me",
    "GRANT ALL ON *.* TO default",
    "CREATE NAMED COLLECTION c AS url = 'http://127.0.0.1:1/'",
    "SELECT 1; SELECT file('{file}')",
]


@pytest.mark.parametrize("sql", BYPASSES)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_every_way_out_is_closed(
    engine: EngineServer, table: str, victim: Path, sql: str, method: str
) -> None:
    """Each is refused, and the answer tells nothing of the file."""
    assert engine.send(f"CREATE TABLE {table} (w String) ENGINE = Memory", database="steptrail").status == 200
    engine.ask("CREATE TABLE IF NOT EXISTS `SELECT` (w String) ENGINE = Memory")
    text = sql.format(file=victim, folder=victim.parent, table=table, **LONG)
    if method == "POST":
        reply = engine.send(body=text.encode(), database="steptrail")
    else:
        reply = engine.send(text, method="GET", database="steptrail")
    assert reply.status >= 400, reply.text
    assert "topsecret" not in reply.text
    assert engine.ask(f"SELECT count() FROM {table}") == "0"
    assert engine.ask("SELECT count() FROM steptrail.`SELECT`") == "0"
    assert engine.send(method="GET", path="/ping").status == 200


@pytest.mark.parametrize(
    "sql",
    ["SELECT arrayMap({f:Identifier}, ['%s'])", "SELECT arrayMap(/**/{ f : Identifier }, ['%s'])"],
)
@pytest.mark.parametrize("name", ["file", "`file`", '"file"', "\\x66ile", "fi\\le"])
def test_a_name_given_as_a_parameter(engine: EngineServer, victim: Path, sql: str, name: str) -> None:
    """An Identifier parameter spells no function, in the address or set in a session."""
    reply = engine.send(sql % victim, param_f=name)
    assert reply.status >= 400
    assert "topsecret" not in reply.text
    session = secrets.token_hex(4)
    engine.send("SET param_f = 'file'", session_id=session)
    reply = engine.send(sql % victim, session_id=session)
    assert reply.status >= 400
    assert "topsecret" not in reply.text


def test_settings_in_the_address(engine: EngineServer, victim: Path) -> None:
    """The fixed settings are fixed in the address and in a session as well."""
    for name, value in (
        ("dialect", "prql"),
        ("format_schema", str(victim)),
        ("additional_result_filter", "1"),
    ):
        every: list[dict[str, Any]] = [{}, {"session_id": secrets.token_hex(4)}]
        for how in every:
            reply = engine.send("SELECT 1", **{**how, name: value})
            assert reply.headers.get("x-clickhouse-exception-code") == "452", (name, reply.text)


@pytest.mark.parametrize(
    ("structure", "form", "content"),
    [
        ("x String, y String DEFAULT file('%s')", "TSV", b"a"),
        ("x String) ENGINE = File(TSV, '%s2') --", "TSV", b"a"),
        ("x String) AS SELECT file('%s') --", "TSV", b"a"),
        ("x String", "Values", b"(file('%s'))"),
    ],
)
def test_uploaded_tables(
    engine: EngineServer, victim: Path, structure: str, form: str, content: bytes
) -> None:
    """Neither the structure nor the rows of an uploaded table reach a file."""
    body = (
        b'--b\r\nContent-Disposition: form-data; name="up"; filename="up"\r\n\r\n'
        + content.replace(b"%s", str(victim).encode())
        + b"\r\n--b--\r\n"
    )
    reply = engine.send(
        "SELECT * FROM up",
        body,
        headers={"Content-Type": "multipart/form-data; boundary=b"},
        up_structure=structure.replace("%s", str(victim)),
        up_format=form,
    )
    assert reply.status >= 400
    assert "topsecret" not in reply.text


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO {table} VALUES ('x')",
        "INSERT INTO {table} SELECT 'x'",
        "INSERT INTO FUNCTION null('x String') SELECT 'x'",
        "WITH 1 AS a INSERT INTO {table} SELECT 'x'",
        "CREATE TABLE {table}_2 (x String) ENGINE = Memory",
        "CREATE TEMPORARY TABLE {table}_2 (x String)",
        "DROP TABLE {table}",
        "TRUNCATE TABLE {table}",
        "ALTER TABLE {table} DELETE WHERE 1",
        "RENAME TABLE {table} TO {table}_2",
        "OPTIMIZE TABLE {table}",
        "SET max_threads = 1",
        "USE system",
        "KILL QUERY WHERE 1 ASYNC",
        "SYSTEM STOP MERGES",
        "DETACH TABLE {table}",
        "/* SELECT */ DROP TABLE {table}",
        "DELETE FROM {table} WHERE 1",
    ],
)
@pytest.mark.parametrize("session", [False, True])
def test_a_get_only_reads(engine: EngineServer, table: str, sql: str, session: bool) -> None:
    """Whatever changes anything is refused by GET, in a session too."""
    engine.send(f"CREATE TABLE {table} (w String) ENGINE = MergeTree ORDER BY w", database="steptrail")
    engine.send(f"INSERT INTO {table} VALUES ('kept')", database="steptrail")
    given: dict[str, Any] = {"database": "steptrail"}
    if session:
        given["session_id"] = secrets.token_hex(4)
    for more in (given, {**given, "readonly": 0}):
        reply = engine.send(sql.format(table=table), method="GET", **more)
        assert reply.headers.get("x-clickhouse-exception-code") == "164", reply.text
    assert engine.ask(f"SELECT * FROM {table}") == "kept"


def test_a_page_cannot_get(engine: EngineServer, victim: Path) -> None:
    """What an image of another site's page sends, with credentials that the browser keeps, is refused."""
    login = base64.b64encode(f"default:{engine.password}".encode()).decode()
    for site in ("cross-site", "same-site", "same-origin", "Cross-Site"):
        for method in ("GET", "POST", "HEAD"):
            reply = engine.send(
                "SELECT 1",
                method=method,
                login=False,
                headers={"Authorization": f"Basic {login}", "Sec-Fetch-Site": site},
            )
            assert reply.status == 403
    typed = {"Authorization": f"Basic {login}", "Sec-Fetch-Site": "none"}
    assert engine.send("SELECT 1", method="GET", login=False, headers=typed).status == 200


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("SELECT format('{} is a {}', 'x', 'file')", "x is a file"),
        ("SELECT 'file(\\'/etc/passwd\\')' -- file()", "file('/etc/passwd')"),
        ("SELECT t.file FROM (SELECT 'a' AS file) AS t", "a"),
        ("SELECT file FROM (SELECT 'a' AS file)", "a"),
        ("SELECT length(t.file) FROM (SELECT 'ab' AS file) AS t", "2"),
        ("SELECT count() FROM system.disks WHERE name = 'default'", "1"),
        ("SELECT * FROM values('x UInt8', 1)", "1"),
        ("SELECT * FROM {n:Identifier}.one", "0"),
        ("SELECT toTypeName(NULL)", "Nullable(Nothing)"),
        ('SELECT "a\\"b" FROM (SELECT 1 AS "a\\"b")', "1"),
    ],
)
def test_what_looks_like_it_works(engine: EngineServer, sql: str, answer: str) -> None:
    """The same words in texts, comments and columns are harmless."""
    for method in ("POST", "GET"):
        reply = engine.send(sql, method=method, param_n="system", default_format="TSVRaw")
        assert reply.text == answer + "\n"


def test_values_by_hand_may_be_expressions(engine: EngineServer, table: str) -> None:
    """VALUES takes expressions; rows that hold the refused words take plain values only."""
    engine.send(f"CREATE TABLE {table} (s String, n Int64) ENGINE = Memory", database="steptrail")
    engine.ask(f"INSERT INTO {table} VALUES (upper('a'), 1 + 1)")
    engine.ask(
        f"INSERT INTO {table} SETTINGS async_insert = 0 VALUES ('select a file', 3), ('it''s \"it\"', -4)"
    )
    rows = engine.ask(f"SELECT s, n FROM {table} ORDER BY n DESC FORMAT TSVRaw").splitlines()
    assert rows == ["select a file\t3", "A\t2", 'it\'s "it"\t-4']


def test_columns_called_file(engine: EngineServer, table: str) -> None:
    """A table may have columns named as what is refused."""
    engine.ask(f"CREATE TABLE {table} (file String, disk String) ENGINE = MergeTree ORDER BY file")
    engine.ask(f"INSERT INTO {table} (file, disk) VALUES ('a', 'b')")
    assert engine.ask(f"SELECT file, disk FROM {table} WHERE file = 'a' ORDER BY file") == "a\tb"
