"""Sessions of the engine server: what they keep, what they do not, and who may use them when."""

from __future__ import annotations

import threading

import pytest

from support.engine import EngineServer, engine, table
from support.waiting import until

__all__ = ["engine", "table"]


def test_temporary_tables(engine: EngineServer) -> None:
    """A session's temporary table is its own, and there until the session ends."""
    mine, other = engine.client(session_id="mine"), engine.client(session_id="other")
    mine.command("CREATE TEMPORARY TABLE scratch (n UInt8)")
    mine.insert("scratch", [[1], [2]], column_names=["n"], database="")
    assert mine.query("SELECT sum(n) FROM scratch").result_rows == [(3,)]
    with pytest.raises(Exception, match="UNKNOWN_TABLE"):
        other.query("SELECT * FROM scratch")


def test_set_holds_for_the_session(engine: EngineServer) -> None:
    """SET holds for the session, a request's own settings for that request alone."""
    setting = "SELECT getSetting('max_block_size')"
    engine.ask("SET max_block_size = 111", session_id="s1")
    assert engine.ask(setting, session_id="s1") == "111"
    assert engine.ask(setting, session_id="s1", max_block_size=222) == "222"
    assert engine.ask(setting, session_id="s1") == "111"
    assert engine.ask(setting, session_id="s1", log_comment="x") == "111"
    engine.ask("SET max_block_size = 333", session_id="s1", max_block_size=444)
    assert engine.ask(setting, session_id="s1") == "333"
    assert engine.ask(setting) not in ("111", "333")
    comment = "SELECT getSetting('log_comment')"
    assert engine.ask(comment, session_id="s1", log_comment="it's\\") == "it\\'s\\\\"
    assert engine.ask(comment, session_id="s1") == ""


def test_use_holds_for_the_session(engine: EngineServer) -> None:
    """USE holds for the session, a request's database for that request."""
    sql = b"SELECT currentDatabase()"
    engine.send(body=b"USE system", session_id="s2")
    assert engine.send(body=sql, session_id="s2").text == "system\n"
    assert engine.send(body=sql, session_id="s2", database="steptrail").text == "steptrail\n"
    assert engine.send(body=sql, session_id="s2").text == "system\n"


def test_failure_keeps_the_session(engine: EngineServer) -> None:
    """A statement that fails leaves the session's tables and settings, and nothing of its output."""
    engine.ask("CREATE TEMPORARY TABLE kept (n UInt8)", session_id="s3")
    assert engine.send(body=b"SELECT nothere", session_id="s3").status == 404
    engine.send(
        body=b"SELECT throwIf(number = 100000) FROM numbers(200000) SETTINGS max_block_size = 1000",
        session_id="s3",
    )
    assert engine.ask("SELECT count() FROM kept", session_id="s3") == "0"
    assert engine.ask("SELECT 'only this'", session_id="s3") == "only this"


def test_session_is_locked_while_used(engine: EngineServer) -> None:
    """A second statement in a session that works is refused with error 373."""
    sql = "SELECT sleepEachRow(1) FROM numbers(600) SETTINGS max_block_size = 1"
    thread = threading.Thread(
        target=engine.send, args=(sql,), kwargs={"session_id": "s4", "log_comment": "s4"}
    )
    thread.start()
    works = "SELECT count() FROM system.processes WHERE Settings['log_comment'] = 's4'"
    try:
        until(lambda: engine.ask(works) == "1", "statement that runs")
        reply = engine.send(body=b"SELECT 1", session_id="s4")
        assert reply.headers["x-clickhouse-exception-code"] == "373"
        assert "SESSION_IS_LOCKED" in reply.text
    finally:
        engine.ask("KILL QUERY WHERE Settings['log_comment'] = 's4' SYNC")
        thread.join()
    assert engine.ask("SELECT 1", session_id="s4") == "1"


def test_session_check_and_timeout(engine: EngineServer) -> None:
    """session_check refuses a session that is not there, and one that has timed out."""
    absent = engine.send(body=b"SELECT 1", session_id="never", session_check=1)
    assert absent.headers["x-clickhouse-exception-code"] == "372"
    assert engine.ask("SELECT 1", session_id="s5", session_timeout=60) == "1"
    assert engine.ask("SELECT 1", session_id="s5", session_timeout=1, session_check=1) == "1"

    def gone() -> bool:
        reply = engine.send(body=b"SELECT 1", session_id="s5", session_check=1, session_timeout=1)
        return reply.headers.get("x-clickhouse-exception-code") == "372"

    until(gone, "end of the session", pause=2.0)  # a question that finds it makes it last anew


def test_get_may_not_write_in_a_session(engine: EngineServer, table: str) -> None:
    """GET reads only, in a session too, and leaves the session able to write."""
    engine.ask(f"CREATE TABLE {table} (n UInt8) ENGINE = Memory", session_id="s6")
    refused = engine.send(
        f"INSERT INTO {table} VALUES (1)", method="GET", session_id="s6", database="steptrail"
    )
    assert refused.headers["x-clickhouse-exception-code"] == "164"
    engine.ask(f"INSERT INTO {table} VALUES (1)", session_id="s6")
    reply = engine.send(f"SELECT n FROM steptrail.{table}", method="GET", session_id="s6")
    assert reply.text == "1\n"


def test_session_is_free_when_the_answer_ends(engine: EngineServer) -> None:
    """The next statement of a session can follow at once, 200 times over."""
    client = engine.client(session_id="s7")
    for n in range(100):
        assert client.query("SELECT {n:UInt8}", parameters={"n": n}).result_rows == [(n,)]
        client.command("SET max_threads = 1")
