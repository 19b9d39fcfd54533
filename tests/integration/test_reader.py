"""Questions to real tables, filled by the real projection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from uuid import UUID

import pytest

from steptrail.projections.clickhouse.client import connect
from steptrail.projections.clickhouse.errors import SchemaMismatch, StoreRefused, StoreUnavailable
from steptrail.projections.clickhouse.pages import Cursor, Page
from steptrail.projections.clickhouse.queries import query
from steptrail.projections.reading import reader as reader_module
from steptrail.projections.reading.reader import Reader, ResultTooLarge
from steptrail.projections.reading.records import StepRecord
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.event import MAX_TIMESTAMP_US, MIN_TIMESTAMP_US, datetime_from_us
from steptrail.schemas.status import ProcessingStatus as S
from support.effort import only_some
from support.projected import T0, Tables, event
from support.stack import Stack, new_workspace

NOON = datetime_from_us(T0)
HOSTILE = [
    "o'clock",
    "'; DROP TABLE steps; --",
    'back\\slash "quoted"',
    "{doc_id:String}",
    "%s %(x)s $1 ?",
    "line\nbreak\ttab",
    "日本語 🦆 é",
    "",
    " ",
    "NULL",
    "\\N",
    "x" * 1000,
]


@pytest.fixture(scope="module")
def database(stack: Stack) -> Iterator[Settings]:
    with new_workspace(stack) as settings:
        yield settings


@pytest.fixture
def tables(database: Settings) -> Iterator[Tables]:
    """Empty tables."""
    with connect(database) as clickhouse:
        for table in ("steps", "step_executions", "projection_ledger"):
            clickhouse.command(f"TRUNCATE TABLE {table}")
        yield Tables(clickhouse)


def at(micros: int) -> datetime:
    return NOON + timedelta(microseconds=micros)


def test_an_event_comes_back_as_it_was(tables: Tables) -> None:
    """Every value of an event is read back exactly, to the microsecond."""
    sent = event(
        S.ERROR,
        123_457,
        execution=9,
        attempt=3,
        duration_ms=0.1,
        error_type="ValueError",
        error_message="no 'quotes'\n\\ 🦆",
        details='{"n": 12345678901234567890123, "depends_on": ["read"], "nested": {"é": [1.5, null, true]}}',
        metrics='{"pages": 3}',
        depends_on='["read"]',
        trace_id="0af7651916cd43dd8448eb211c80319c",
    )
    tables.write([sent])
    (step,) = tables.reader.steps("p", "d")
    assert step.timestamp == at(123_457)
    assert step.timestamp.utcoffset() == timedelta(0)
    assert (step.step_name, step.status) == ("parse", S.ERROR)
    assert step.details == {
        "n": 12345678901234567890123,
        "depends_on": ["read"],
        "nested": {"é": [1.5, None, True]},
    }
    assert step.metadata == {
        "metrics": {"pages": 3, "duration_ms": 0.1},
        "error_message": "no 'quotes'\n\\ 🦆",
        "attempt": 3,
        "execution_id": str(UUID(int=9)),
        "event_id": str(UUID(bytes=sent.event_id)),
        "worker": "host:1",
        "error_type": "ValueError",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
    (record,) = tables.reader.timeline("p", "d")
    assert (record.depends_on, record.event_id.bytes) == (["read"], sent.event_id)


def test_unknown_documents_are_empty(tables: Tables) -> None:
    """What nobody sent is an empty answer, not an error."""
    tables.write([event()])
    assert tables.reader.steps("p", "nobody") == []
    assert tables.reader.steps("nobody", "d") == []
    assert tables.reader.document_state("p", "nobody") == []
    assert tables.reader.timeline("p", "nobody") == Page((), None, None)
    assert tables.reader.recent_errors("nobody", NOON) == []


def test_steps_are_filtered_by_status_and_time(tables: Tables) -> None:
    """One status or many, start inclusive, end exclusive, oldest first whatever the order of arrival."""
    tables.write([event(status, time) for time, status in reversed(list(enumerate(S)))])

    def found(*statuses: S, start: int | None = None, end: int | None = None) -> list[S]:
        steps = tables.reader.steps(
            "p",
            "d",
            statuses or None,
            None if start is None else at(start),
            None if end is None else at(end),
        )
        return [step.status for step in steps]

    assert found() == list(S)
    assert found(S.ERROR) == [S.ERROR]
    assert found(S.FAILED, S.PENDING) == [S.PENDING, S.FAILED]
    assert found(start=2) == list(S)[2:]
    assert found(end=2) == list(S)[:2]
    assert found(start=2, end=3) == [S.SUCCESS]
    assert found(start=3, end=3) == []
    assert found(S.RUNNING, start=2) == []
    assert tables.reader.steps("p", "d", []) == []
    other_zone = timezone(timedelta(hours=5, minutes=30))
    assert len(tables.reader.steps("p", "d", start=at(2).astimezone(other_zone))) == 5


def test_extreme_times_are_bounds_and_values(tables: Tables) -> None:
    """All that the store can hold is found, between the earliest and the latest datetime that Python has."""
    tables.write([event(time=MIN_TIMESTAMP_US - T0), event(time=MAX_TIMESTAMP_US - T0)])
    first = datetime.min.replace(tzinfo=timezone.utc)
    last = datetime.max.replace(tzinfo=timezone.utc)
    found = [step.timestamp for step in tables.reader.steps("p", "d", start=first, end=last)]
    assert found == [datetime_from_us(MIN_TIMESTAMP_US), datetime_from_us(MAX_TIMESTAMP_US)]
    assert [page_item.timestamp for page_item in tables.reader.events(newest_first=False)] == found


def test_hostile_names_are_only_names(tables: Tables) -> None:
    """Quotes, placeholders, line breaks and other scripts in names find their own events and no others."""
    tables.write([event(S.ERROR, n, doc_id=name, pipeline=name) for n, name in enumerate(HOSTILE)])
    for name in HOSTILE:
        assert len(tables.reader.steps(name, name)) == 1
        assert [state.doc_id for state in tables.reader.document_state(name, name)] == [name]
        assert [error.doc_id for error in tables.reader.recent_errors(name, NOON)] == [name]
    assert len(tables.reader.recent_errors(None, NOON)) == len(HOSTILE)
    assert tables.reader.steps("p", "lone \ud800 surrogate and \x00") == []


def test_an_event_sent_twice_is_read_once(tables: Tables) -> None:
    """Copies in one batch, in another batch and in another month's part show once, in lists and in pages."""
    twice, other = event(S.ERROR, 0), event(S.FAILED, 0)
    month = 31 * 86_400_000_000
    tables.write([twice, other, twice])
    tables.write([(twice, T0 + month), (other, T0 + 1000)])
    assert [step.status for step in tables.reader.steps("p", "d")] == [S.ERROR, S.FAILED]
    assert [step.status for step in tables.reader.recent_errors("p", NOON)] == [S.FAILED, S.ERROR]
    assert len(tables.reader.recent_errors("p", NOON, limit=1)) == 1
    first = tables.reader.timeline("p", "d", limit=1)
    second = tables.reader.timeline("p", "d", first.next, 1)
    assert [page.items[0].status for page in (first, second)] == [S.ERROR, S.FAILED]
    assert second.next is None


def test_many_copies_do_not_hide_what_comes_after(tables: Tables) -> None:
    """A thousand copies of one event are one item of a page, and the next event is on it."""
    noisy, quiet = event(S.ERROR, 5), event(S.ERROR, 1)
    tables.write([(noisy, T0 + 5 + copy) for copy in range(1000)] + [(quiet, T0 + 1)])
    assert [step.timestamp for step in tables.reader.recent_errors("p", NOON, limit=2)] == [at(5), at(1)]
    assert len(tables.reader.timeline("p", "d", limit=2)) == 2


def test_recent_errors_are_newest_first(tables: Tables) -> None:
    """ERROR and FAILED of all documents since then, inclusive; WARNING when asked; a limit keeps the newest."""
    tables.write(
        [
            event(S.ERROR, 1, doc_id="a"),
            event(S.WARNING, 2, doc_id="b"),
            event(S.FAILED, 3, doc_id="c"),
            event(S.SUCCESS, 4, doc_id="d"),
            event(S.ERROR, 5, doc_id="e", pipeline="q"),
        ]
    )

    def documents(pipeline: str | None, since: int, warnings: bool = False, limit: int | None = None) -> str:
        found = tables.reader.recent_errors(pipeline, at(since), warnings, limit)
        return "".join(error.doc_id for error in found)

    assert documents("p", 0) == "ca"
    assert documents("p", 0, True) == "cba"
    assert documents("p", 3) == "c"
    assert documents("p", 4) == ""
    assert documents(None, 0) == "eca"
    assert documents(None, 0, limit=2) == "ec"


@pytest.mark.parametrize(
    ("size", "newest_first"),
    only_some(
        (1, False), (3, True), (7, False), (7, True), (100, True),
        rest=[(1, True), (3, False), (100, False)],
    ),
)  # fmt: skip
def test_pages_cover_everything_once(tables: Tables, size: int, newest_first: bool) -> None:
    """Pages forth and back show each event once and in order, also among equal times and copies."""
    events = [event(list(S)[n % 7], (n * 7919) % 5, doc_id="d" if n % 4 else "other") for n in range(24)]
    tables.write(events)
    tables.write(events[::3])
    expected = sorted((sent.timestamp, sent.event_id) for sent in events if sent.doc_id == "d")
    if newest_first:
        expected.reverse()

    def page(after: str | None = None, before: str | None = None) -> Page[StepRecord]:
        return tables.reader.timeline("p", "d", after, size, before=before, newest_first=newest_first)

    pages = [page()]
    while pages[-1].next is not None:
        pages.append(page(after=str(pages[-1].next)))
    assert [(item.cursor.micros, item.event_id.bytes) for one in pages for item in one] == expected
    assert all(len(one) == size for one in pages[:-1])
    assert pages[0].previous is None

    back = [pages[-1]]
    while back[0].previous is not None:
        back.insert(0, page(before=str(back[0].previous)))
    assert [item for one in back for item in one] == [item for one in pages for item in one]


def test_pages_over_all_documents(tables: Tables) -> None:
    """Events of all documents and pipelines by status, newest first, page after page."""
    events = [event([S.ERROR, S.SUCCESS][n % 2], n, doc_id=str(n), pipeline=str(n % 3)) for n in range(20)]
    tables.write(events)
    first = tables.reader.events(statuses=[S.ERROR], limit=6)
    second = tables.reader.events(statuses=[S.ERROR], limit=6, after=first.next)
    assert [item.doc_id for item in (*first, *second)] == [str(n) for n in range(18, -1, -2)]
    assert second.next is None
    assert [item.doc_id for item in tables.reader.events("1", end=at(8))] == ["7", "4", "1"]


def test_a_page_stays_when_events_arrive(tables: Tables) -> None:
    """Events that arrive between two pages neither repeat nor hide others."""
    tables.write([event(time=n) for n in range(6)])
    first = tables.reader.timeline("p", "d", limit=3)
    tables.write([event(time=-5), event(time=1), event(time=9)])
    second = tables.reader.timeline("p", "d", first.next, 10)
    assert [item.timestamp for item in second] == [at(3), at(4), at(5), at(9)]


def test_document_state(tables: Tables) -> None:
    """Each step's current execution, in the order in which they began, over all pipelines when asked."""
    tables.write(
        [
            event(S.RUNNING, 5_000, step_name="late", execution=3),
            event(S.RUNNING, 1_000, step_name="early", execution=1),
            event(S.ERROR, 2_000, step_name="early", execution=1, error_message="boom", error_type="OSError"),
            event(S.RUNNING, 3_000, step_name="early", execution=2, attempt=2, depends_on='["x"]'),
            event(
                S.SUCCESS,
                4_000,
                step_name="early",
                execution=2,
                attempt=2,
                duration_ms=1.0,
                details='{"n":1}',
                metrics='{"m":2}',
            ),
            event(S.SKIPPED, 9_000, pipeline="q", step_name="other"),
        ]
    )
    early, late = tables.reader.document_state("p", "d")
    assert (early.step_name, early.status, early.attempt) == ("early", S.SUCCESS, 2)
    assert (early.started_at, early.updated_at, early.duration_ms) == (at(3_000), at(4_000), 1.0)
    assert (early.executions, early.events, early.execution_id) == (2, 4, UUID(int=2))
    assert (early.details, early.metrics, early.depends_on) == ({"n": 1}, {"m": 2}, ["x"])
    assert (early.error_message, early.error_type) == (None, None)
    assert (late.status, late.started_at) == (S.RUNNING, at(5_000))
    assert [state.pipeline for state in tables.reader.document_state(None, "d")] == ["p", "p", "q"]


def test_a_list_that_is_too_long_is_refused(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound there is an error that names the way out; never a list that is silently cut."""
    monkeypatch.setattr(reader_module, "MAX_LIST_EVENTS", 25)
    monkeypatch.setattr(reader_module, "_BLOCK", 10)
    tables.write([event(S.ERROR, n) for n in range(25)])
    assert len(tables.reader.steps("p", "d")) == len(tables.reader.recent_errors("p", NOON)) == 25
    tables.write([event(S.ERROR, 99)])
    with pytest.raises(ResultTooLarge, match=r"document 'd' has more than 25 events.*timeline"):
        tables.reader.steps("p", "d")
    with pytest.raises(ResultTooLarge, match="give a limit"):
        tables.reader.recent_errors("p", NOON)
    assert len(tables.reader.recent_errors("p", NOON, limit=26)) == 26


def test_statements_read_what_they_need(tables: Tables) -> None:
    """A document costs its own granules; status and time over all documents go through the time projection."""
    tables.clickhouse.command(
        "INSERT INTO steps (pipeline, doc_id, step_name, status, timestamp, broker_time, event_id, execution_id, "
        "details, metrics, depends_on) "
        "SELECT 'p', toString(number % 5000), 's', if(number % 50 = 0, 'ERROR', 'SUCCESS'), "
        "toDateTime64('2025-06-15 15:06:40', 6, 'UTC') + toIntervalMillisecond(number) AS time, time, "
        "generateUUIDv7(), generateUUIDv4(), '{}', '{}', '[]' FROM numbers(60000)"
    )
    asked: list[tuple[str, dict[str, object]]] = []

    class Explaining:
        def rows(
            self, sql: str, parameters: object = None, settings: object = None
        ) -> list[dict[str, object]]:
            asked.append((sql, dict(parameters)))  # type: ignore[call-overload]
            return tables.clickhouse.rows(*asked[-1])

    reader = Reader(Explaining())
    plans = []
    for question in (
        lambda: reader.steps("p", "77"),
        lambda: reader.document_state("p", "77"),
        lambda: reader.recent_errors("p", NOON, limit=100),
        lambda: reader.recent_errors(None, NOON + timedelta(seconds=50), limit=100),
    ):
        assert question()
        plans.append(tables.explain(*asked[-1]))
    steps, state, errors, all_errors = plans
    for plan in (steps, state):
        selected, total = _granules(plan)
        assert selected <= 2 < total, plan
    for plan in (errors, all_errors):
        assert "ReadFromMergeTree (p_by_time)" in plan, plan
        selected, total = _granules(plan)
        assert selected <= 4 < total, plan


def _granules(plan: str) -> tuple[int, int]:
    found = [(int(a), int(b)) for a, b in re.findall(r"Granules: (\d+)/(\d+)", plan)]
    return min(a for a, _ in found), max(b for _, b in found)


def test_missing_tables_and_stores_are_told(stack: Stack, database: Settings) -> None:
    """No tables, a wrong password and nobody listening: each says what it is and what to do."""
    absent = Reader(connect(database.with_values(clickhouse=stack.with_database("steptrail_absent"))))
    with pytest.raises(SchemaMismatch, match="steptrail migrate"):
        absent.steps("p", "d")
    wrong = Reader(connect(database.with_values(clickhouse_password="not-this-one")))
    with pytest.raises(StoreRefused) as refused:
        wrong.steps("p", "d")
    assert "not-this-one" not in str(refused.value)
    nobody = Reader(connect(database.with_values(clickhouse="http://user:hidden@127.0.0.1:9/x")))
    with pytest.raises(StoreUnavailable, match=r"(?s)127\.0\.0\.1:9.*steptrail up") as away:
        nobody.recent_errors(None, NOON)
    assert "hidden" not in str(away.value)


def test_projected_offsets(tables: Tables) -> None:
    """The ledger's last offsets by partition, of this topic's id alone."""
    assert tables.reader.projected_offsets("made-up", "made-up-id") == {}
    tables.write([event(), event()])
    tables.write([event()])
    assert tables.reader.projected_offsets("made-up", "made-up-id") == {0: 2}
    assert tables.reader.projected_offsets("made-up", "another-id") == {}
    assert tables.reader.projected_offsets("made-up", "made-up-id", at_least=2) == {0: 2}
    assert tables.reader.projected_offsets("made-up", "made-up-id", at_least=3) == {}


def test_cursors_name_events(tables: Tables) -> None:
    """An item's own cursor starts a page after it."""
    tables.write([event(time=n) for n in range(4)])
    page = tables.reader.timeline("p", "d")
    rest = tables.reader.timeline("p", "d", page.items[1].cursor)
    assert rest.items == page.items[2:]
    assert isinstance(Cursor.parse(str(page.items[0].cursor)), Cursor)
    assert "document" in query("document_events_forward")
