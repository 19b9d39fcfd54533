"""What the reader says when the store cannot answer, and of arguments that cannot be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from importlib.resources import files
from typing import Any

import pytest

from steptrail.projections.clickhouse.errors import QueryError, SchemaMismatch, StoreUnavailable
from steptrail.projections.clickhouse.queries import query
from steptrail.projections.reading.reader import Reader

NOW = datetime(2025, 6, 1, tzinfo=timezone.utc)


class Failing:
    """A store that answers every statement with one error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def rows(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        raise self._error


class Recording:
    """A store without rows that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def rows(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        self.asked.append((sql, dict(parameters or {})))
        return []


def test_unreachable_says_where_and_what_to_do() -> None:
    """The address of the store, and the ways to have one, are in the message."""
    reader = Reader(Failing(StoreUnavailable("ClickHouse at db.example:8123: Connection refused")))
    with pytest.raises(StoreUnavailable, match=r"(?s)db\.example:8123.*STEPTRAIL_CLICKHOUSE.*steptrail up"):
        reader.steps("p", "d")


@pytest.mark.parametrize("code", [60, 81])
def test_missing_tables_say_migrate(code: int) -> None:
    """A database without our tables is named as such."""
    reader = Reader(Failing(QueryError("Unknown table", code=code, name="UNKNOWN")))
    with pytest.raises(SchemaMismatch, match="steptrail migrate"):
        reader.recent_errors("p", NOW)


def test_other_query_errors_are_passed_on() -> None:
    """A fault of a statement stays what it is."""
    reader = Reader(Failing(QueryError("Syntax error", code=62, name="SYNTAX_ERROR")))
    with pytest.raises(QueryError, match="Syntax error"):
        reader.document_state("p", "d")


def test_naive_times_are_refused_by_name() -> None:
    """A time without a zone names the argument that it was given as."""
    reader, naive = Reader(Recording()), datetime(2025, 6, 1)  # noqa: DTZ001  naive on purpose
    with pytest.raises(ValueError, match="start_time"):
        reader.steps("p", "d", start=naive)
    with pytest.raises(ValueError, match="end_time"):
        reader.steps("p", "d", end=naive)
    with pytest.raises(ValueError, match="since"):
        reader.recent_errors("p", naive)
    with pytest.raises(TypeError, match=r"since .* not str"):
        reader.recent_errors("p", "1h")  # type: ignore[arg-type]


def test_limits_and_cursors_are_checked() -> None:
    """A limit below one and two cursors at a time are refused."""
    store = Recording()
    reader = Reader(store)
    with pytest.raises(ValueError, match="limit must be at least 1"):
        reader.timeline("p", "d", limit=0)
    with pytest.raises(ValueError, match="must not be negative"):
        reader.recent_errors("p", NOW, limit=-1)
    with pytest.raises(ValueError, match="only one"):
        reader.timeline("p", "d", "a", before="b")
    assert store.asked == []


def test_values_never_reach_the_text() -> None:
    """A hostile name travels as a bound parameter; the statement is the same for every value."""
    evil = "x' OR 1=1 --"
    store = Recording()
    reader = Reader(store)
    reader.steps(evil, evil)
    reader.steps("p", "d")
    (evil_sql, evil_parameters), (sql, _) = store.asked
    assert evil_sql == sql
    assert evil_parameters["doc_id"] == evil_parameters["pipeline"] == evil


def test_no_status_means_no_rows_asked_for() -> None:
    """An empty choice of statuses is not taken for all of them."""
    store = Recording()
    assert Reader(store).steps("p", "d", statuses=[]) == []
    assert store.asked[0][1]["statuses"] == []


def test_every_statement_is_described_and_whole() -> None:
    """Each SQL file begins with a comment, and has no include left over."""
    names = [file.name.removesuffix(".sql") for file in (files("steptrail.projections") / "sql").iterdir()]
    assert len(names) >= 6
    for name in names:
        assert "-- include:" not in query(name)
        if not name.endswith("_columns"):  # those are included in others
            assert query(name).startswith("-- ")
            assert re.search(r"\{\w+:\w+", query(name))


def test_a_short_span_is_asked_for_at_once() -> None:
    """Windows are for what may be long: two minutes, or a document, are one statement."""
    store = Recording()
    reader = Reader(store)
    reader.events(start=datetime.now(timezone.utc) - timedelta(seconds=100))
    reader.timeline("p", "d")
    reader.events(start=datetime.now(timezone.utc) - timedelta(days=100), end=NOW)
    assert len(store.asked) == 3
