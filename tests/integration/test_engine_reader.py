"""The user `reader` only reads: each way round it that was tried is listed here, and refused."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from steptrail.deploy.engine import reader
from support.engine import EngineServer, running_engine
from support.refused_statements import FILES_AND_NETWORK, OTHERS_AND_THE_SERVER, WRITES

# READONLY, ACCESS_DENIED, and a setting past its bounds.
REFUSED = {"164", "497", "452"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineServer]:
    """A server whose readers may take little, with a table and a view to read."""
    folder = tmp_path_factory.mktemp("engine")
    limits = ["--reader-seconds", "3", "--reader-memory", str(256 << 20), "--reader-rows", "1000"]
    with running_engine(folder, *limits, "--reader-queries", "4") as server:
        server.ask("CREATE TABLE t (n UInt64, s String, `file` String) ENGINE = MergeTree ORDER BY n")
        server.ask("INSERT INTO t SELECT number, toString(number), 'f' FROM numbers(100)")
        server.ask("CREATE VIEW v AS SELECT n, s FROM t WHERE n < 10")
        server.ask("CREATE FUNCTION lagged AS x -> x + sleep(1)")
        server.ask("CREATE DATABASE other")
        server.ask("CREATE TABLE other.secrets (s String) ENGINE = MergeTree ORDER BY s")
        server.ask("INSERT INTO other.secrets VALUES ('topsecret')")
        yield server


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file that no statement may read or change."""
    path = tmp_path / "victim.tsv"
    path.write_text("topsecret\n")
    yield path
    assert path.read_text() == "topsecret\n"
    assert [one.name for one in tmp_path.iterdir()] == ["victim.tsv"]


def refused(engine: EngineServer, sql: str, **parameters: str) -> None:
    reply = engine.send(body=sql.encode(), headers=engine.reader, login=False, **parameters)
    assert reply.status >= 400, (sql, reply.text)
    assert "topsecret" not in reply.text
    # What does not parse is no way round either.
    assert reply.headers["x-clickhouse-exception-code"] in REFUSED | {"62", "60", "46", "48"}, reply.text


@pytest.mark.parametrize("sql", WRITES)
def test_no_write(engine: EngineServer, sql: str) -> None:
    """Nothing but reading is done, and nothing has changed."""
    refused(engine, sql)
    assert engine.ask("SELECT count(), sum(n) FROM t") == "100\t4950"
    assert engine.ask("SHOW TABLES") == "t\nv"


@pytest.mark.parametrize("sql", FILES_AND_NETWORK)
def test_no_files_and_no_network(engine: EngineServer, sql: str, victim: Path) -> None:
    """No statement reads or writes a file, or calls another machine."""
    refused(engine, sql.format(file=victim))


@pytest.mark.parametrize("sql", OTHERS_AND_THE_SERVER)
def test_nothing_of_others(engine: EngineServer, sql: str) -> None:
    """Other databases, other people's queries, the server's insides and what only costs are closed."""
    refused(engine, sql)


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        ("SELECT {f:Identifier}('{file}')", {"param_f": "file"}),
        ("SELECT arrayMap({f:Identifier}, ['{file}'])", {"param_f": "file"}),
        ("SELECT arrayMap({f:Identifier}, [1])", {"param_f": "sleep"}),
        ("SELECT * FROM {t:Identifier}", {"param_t": "other.secrets"}),
        ("SELECT * FROM {d:Identifier}.{t:Identifier}", {"param_d": "other", "param_t": "secrets"}),
        ("SELECT * FROM {d:Identifier}.{t:Identifier}", {"param_d": "system", "param_t": "processes"}),
        ("SELECT * FROM {d:Identifier}.{t:Identifier}", {"param_d": "default", "param_t": "{file}"}),
        ("SELECT * FROM secrets", {"database": "other"}),
        ("SELECT * FROM `{file}`", {"database": "default"}),
        ("SELECT * FROM processes", {"database": "system"}),
        ("SELECT 1", {"readonly_": "0"}),
        ("SELECT 1", {"profile": "default"}),
        ("SELECT 1", {"max_parser_depth": "0"}),
        ("SELECT 1", {"allow_ddl": "1"}),
        ("SELECT 1", {"format_schema": "{file}:x", "default_format": "Protobuf"}),
        ("DROP TABLE t", {"readonly": "0"}),
    ],
)
def test_no_way_round_by_the_address(
    engine: EngineServer, sql: str, parameters: dict[str, str], victim: Path
) -> None:
    """Parameters, the database and settings in the address lead nowhere either."""
    given = {name: value.replace("{file}", str(victim)) for name, value in parameters.items()}
    refused(engine, sql.replace("{file}", str(victim)), **given)


def test_a_session_is_its_users(engine: EngineServer) -> None:
    """A reader does not find the handle of another user's session of the same name, nor keeps anything in its own."""
    name = secrets.token_hex(4)
    engine.send(body=b"CREATE TEMPORARY TABLE kept (n UInt8)", session_id=name)
    engine.send(body=b"INSERT INTO kept VALUES (7)", session_id=name)
    refused(engine, "SELECT * FROM kept", session_id=name)
    refused(engine, "INSERT INTO t (n) VALUES (1)", session_id=name)
    for sql in ("SET readonly = 0", "SET ROLE steptrail_owner", "SET profile = 'default'"):
        refused(engine, sql, session_id=name)
    for _ in range(2):
        reply = engine.send(
            body=b"SELECT count() FROM t", headers=engine.reader, login=False, session_id=name
        )
        assert reply.text == "100\n"
    assert engine.send(body=b"SELECT n FROM kept", session_id=name).text == "7\n"


def test_uploads(engine: EngineServer) -> None:
    """A reader uploads no tables."""
    form = b'--x\r\nContent-Disposition: form-data; name="u"; filename="u"\r\n\r\n1\r\n--x--\r\n'
    headers = {**engine.reader, "Content-Type": "multipart/form-data; boundary=x"}
    reply = engine.send("SELECT * FROM u", form, headers=headers, login=False, u_structure="n UInt8")
    assert reply.headers["x-clickhouse-exception-code"] == "497"


def test_passwords(engine: EngineServer) -> None:
    """The reader's password opens nothing of the other user's, and the other way round."""
    for user, password in (
        ("default", engine.reader_password),
        ("reader", engine.password),
        ("other", engine.password),
    ):
        headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
        reply = engine.send(body=b"SELECT 1", headers=headers, login=False)
        assert reply.headers["x-clickhouse-exception-code"] == "516"
    assert (engine.folder / "reader-password").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("sql", "codes"),
    [
        ("SELECT sum(number) FROM numbers(1000000000000)", {"159"}),
        ("SELECT sum(number) FROM numbers(1000000000000) SETTINGS max_execution_time = 0", {"159", "452"}),
        ("SELECT sum(number) FROM numbers(1000000000000) SETTINGS max_execution_time = 100", {"452"}),
        ("SELECT groupArray(repeat('x', 1000)) FROM numbers(10000000)", {"241"}),
        (
            "SELECT groupArray(repeat('x', 1000)) FROM numbers(10000000) SETTINGS max_memory_usage = 0",
            {"452"},
        ),
        ("SELECT number FROM numbers(2000)", {"396"}),
        ("SELECT number FROM numbers(2000) SETTINGS max_result_rows = 0", {"452"}),
        ("SELECT 1 SETTINGS max_threads = 100000", {"452"}),
        ("SELECT 1 SETTINGS max_block_size = 1000000000000", {"452"}),
    ],
)
def test_limits(engine: EngineServer, sql: str, codes: set[str]) -> None:
    """Time, memory, rows, threads and blocks have their bounds, whatever a statement says."""
    reply = engine.send(body=sql.encode(), headers=engine.reader, login=False)
    assert reply.headers.get("x-clickhouse-exception-code") in codes, reply.text[:300]


def test_long_statements(engine: EngineServer) -> None:
    """A statement that is long to parse is refused before it is parsed; temporary data has its bound."""
    reply = engine.send(body=b"SELECT " + b"1," * 200_000 + b"1", headers=engine.reader, login=False)
    assert reply.headers["x-clickhouse-exception-code"] == "309"
    sql = b"SELECT getSetting('max_temporary_data_on_disk_size_for_query')"
    assert engine.send(body=sql, headers=engine.reader, login=False).text == f"{4 << 30}\n"


def test_limits_of_the_address(engine: EngineServer) -> None:
    """A client's own wishes are heeded up to the bounds, without a fault: many send them unasked."""
    shown = b"SELECT getSetting('max_execution_time'), getSetting('max_result_rows'), getSetting('readonly')"
    for given, found in (("0", "3\t1000\t2\n"), ("300", "3\t300\t2\n"), ("2", "2\t2\t2\n")):
        reply = engine.send(
            body=shown,
            headers=engine.reader,
            login=False,
            max_execution_time=given,
            max_result_rows=given,
            readonly="0",
        )
        assert reply.text == found


READS = {
    "SELECT count() FROM t": "100",
    "SELECT n, s FROM v WHERE n = {n:UInt8}": "5\t5",
    "SELECT t.file FROM t WHERE n = 1": "f",
    "SELECT sumIf(n, n > 1), quantileTDigestOrNullIf(0.5)(n, n < 0), uniqExactArray([s]) FROM t": "4949\t\\N\t100",
    "SELECT CASE WHEN n = 1 THEN 'a' ELSE 'b' END FROM t WHERE n BETWEEN 1 AND 1": "a",
    "SELECT exists(SELECT 1), [1, 2][1], (1, 2).2, INTERVAL 1 DAY > INTERVAL 1 HOUR": "1\t1\t2\t1",
    "WITH x AS (SELECT n FROM t) SELECT max(n) FROM x INNER JOIN t USING (n)": "99",
    "SELECT n % 2 AS k, grouping(k) FROM t GROUP BY ROLLUP(k) ORDER BY ALL LIMIT 1": "0\t0",
    "SELECT sum(n) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t WHERE n < 2 ORDER BY n": "0\n1",
    "SELECT arrayMap(x -> x + 1, [1]), arrayJoin([7]) SETTINGS max_threads = 1": "[2]\t7",
    "SELECT toString(1) FROM numbers(1) UNION ALL SELECT 'x' ORDER BY 1": "1\nx",
    "SHOW TABLES": "t\nv",
    "SHOW CREATE TABLE v": None,
    "SHOW COLUMNS FROM t LIKE 'n'": None,
    "DESCRIBE TABLE v": None,
    "DESC (SELECT 1)": None,
    "EXISTS TABLE t": "1",
    "EXISTS t": "1",
    "EXPLAIN SELECT n FROM t": None,
    "EXPLAIN indexes = 1, actions = 1 WITH 1 AS x SELECT x": None,
    "EXPLAIN PIPELINE (SELECT 1)": None,
    "SELECT name FROM system.tables WHERE database = 'steptrail' ORDER BY name": "t\nv",
    "SELECT name, comment FROM system.columns WHERE table = 't' AND name = 'n'": "n\t",
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'steptrail' ORDER BY 1": "t\nv",
    "SELECT version() != '', timezone() != '', currentDatabase()": "1\t1\tsteptrail",
    "SELECT n FROM t WHERE n = 1 -- a comment; with a semicolon\n;": "1",
}


@pytest.mark.parametrize("sql", READS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_reading_works(engine: EngineServer, sql: str, method: str) -> None:
    """What people do ask is answered, by GET and POST."""
    reply = engine.send(sql, headers=engine.reader, login=False, method=method, param_n="5")
    assert reply.status == 200, reply.text
    assert READS[sql] is None or reply.text == f"{READS[sql]}\n"


def test_functions_are_all_judged(engine: EngineServer) -> None:
    """Of the engine's functions those that are not on the list are these, so that a new one is looked at."""
    known = set(engine.ask("SELECT name FROM system.functions WHERE origin = 'System'").split())
    assert reader.functions() <= known
    unlisted = known - reader.functions()
    assert sorted(unlisted) == sorted(UNLISTED.split())


def test_readers_leave_room_for_others(engine: EngineServer) -> None:
    """More statements at once than readers may have are refused, while the other user goes on."""
    from concurrent.futures import ThreadPoolExecutor

    slow = b"SELECT sum(sipHash64(number)) FROM numbers(1000000000000)"

    def ask() -> str:
        reply = engine.send(body=slow, headers=engine.reader, login=False)
        return reply.headers["x-clickhouse-exception-code"]

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask) for _ in range(8)]
        assert engine.ask("SELECT 1") == "1"
        codes = sorted(one.result() for one in asked)
    assert codes == ["159"] * 4 + ["202"] * 4


UNLISTED = """
AIClassify AIEmbed AIExtract AIFilter AIGenerate AIRedact AISimilarity AITranslate FQDN _CAST
__actionName __applyFilter __bitBoolMaskAnd __bitBoolMaskOr __bitSwapLastTwo __bitWrapperFunc __getScalar
__groupingForCube __groupingForGroupingSets __groupingForRollup __groupingOrdinary __patchPartitionID
__scalarSubqueryResult __toYearCalendarOnly addressToLine addressToLineWithInlines addressToSymbol
aiClassify aiEmbed aiExtract aiFilter aiGenerate aiRedact aiSimilarity aiTranslate assignCentroid
authUser authenticatedUser blockNumber buildId connectionId connection_id currentHandler currentProfiles
currentRequestURL currentRoles defaultProfiles defaultRoles demangle dictGet dictGetAll dictGetChildren
dictGetDate dictGetDateOrDefault dictGetDateTime dictGetDateTimeOrDefault dictGetDescendants
dictGetFloat32 dictGetFloat32OrDefault dictGetFloat64 dictGetFloat64OrDefault dictGetHierarchy
dictGetIPv4 dictGetIPv4OrDefault dictGetIPv6 dictGetIPv6OrDefault dictGetInt16 dictGetInt16OrDefault
dictGetInt32 dictGetInt32OrDefault dictGetInt64 dictGetInt64OrDefault dictGetInt8 dictGetInt8OrDefault
dictGetKeys dictGetOrDefault dictGetOrNull dictGetRoot dictGetString dictGetStringOrDefault dictGetUInt16
dictGetUInt16OrDefault dictGetUInt32 dictGetUInt32OrDefault dictGetUInt64 dictGetUInt64OrDefault
dictGetUInt8 dictGetUInt8OrDefault dictGetUUID dictGetUUIDOrDefault dictHas dictIsIn dumpColumnStructure
enabledProfiles enabledRoles evalMLMethod file filesystemAvailable filesystemCapacity
filesystemUnreserved formatQuery formatQueryFromJSON formatQueryOrNull formatQuerySingleLine
formatQuerySingleLineOrNull fullHostName fuzzQuery generateRandomStructure generateSerialID
getClientHTTPHeader getMacro getMergeTreeSetting getOSKernelVersion getServerPort getServerSetting
getTypeSerializationStreams globalVariable hasColumnInTable hasThreadFuzzer hierarchicalKMeans
highlightQuery hostName hostname icebergBucket icebergTruncate initializeAggregation
isMergeTreePartCoveredBy joinGet joinGetOrNull logTrace mergeTreePartInfo naiveBayesClassifier
naiveBayesClassifierWithAllProbs naiveBayesClassifierWithProb nested obfuscateQuery
obfuscateQueryWithSeed parseQueryToJSON partitionID partitionId pgGetUserById pgTableIsVisible
pg_get_userbyid pg_table_is_visible regionHierarchy regionIn regionToArea regionToCity regionToContinent
regionToCountry regionToDistrict regionToName regionToPopulation regionToTopContinent serverUUID
session_user shardCount shardNum showCertificate sleep sleepEachRow stochasticLinearRegression
stochasticLogisticRegression structureToCapnProtoSchema structureToProtobufSchema tcpPort tid
timeSeriesIdToTagsGroup timeSeriesTagsGroupToTags tokenizeQuery transactionID transactionLatestSnapshot
transactionOldestSnapshot validateNestedArraySizes zookeeperSessionUptime
"""
