"""Which documents have gone through the steps that were declared, on real tables."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest

from steptrail.projections import open_storage
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.clickhouse.errors import SchemaMismatch
from steptrail.projections.clickhouse.pages import BadCursor
from steptrail.projections.reading import completeness
from steptrail.projections.reading.completeness import CompletenessState, DocumentCompleteness, DocumentCursor
from steptrail.projections.reading.reader import Reader
from steptrail.projections.stores.expected_steps import declare_all, declare_expected_steps, expected_steps
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.event import datetime_from_us
from steptrail.schemas.fold import Fold
from steptrail.schemas.status import ProcessingStatus as S
from steptrail.schemas.stored_names import stored_name
from support.effort import only_some
from support.projected import T0, Tables, event
from support.stack import Stack, new_workspace

COMPLETE, INCOMPLETE, UNEXPECTED = CompletenessState
NAMES = [
    "o'clock",
    "'; DROP TABLE steps; --",
    'back\\slash "q"',
    "{p:String}",
    "tab\tline\n",
    "日本語 🦆",
    "NULL",
    "[1]",
]


@pytest.fixture(scope="module")
def database(stack: Stack) -> Iterator[Settings]:
    with new_workspace(stack) as settings:
        yield settings


@pytest.fixture
def tables(database: Settings) -> Iterator[Tables]:
    """Empty tables."""
    with connect(database) as clickhouse:
        for table in ("steps", "step_executions", "projection_ledger", "expected_steps_declarations"):
            clickhouse.command(f"TRUNCATE TABLE {table}")
        yield Tables(clickhouse)


def only(found: list[DocumentCompleteness]) -> DocumentCompleteness:
    (one,) = found
    return one


def test_each_expected_step_is_counted_once_by_its_state(tables: Tables) -> None:
    """Done, failed, unfinished, missing: by the step's current state; what nobody expects stands apart."""
    steps = [*(status.value for status in S), "never", "again"]
    declare_expected_steps(tables.clickhouse, "p", steps)
    tables.write(
        [event(status, 1_000 + n, step_name=status.value, execution=n) for n, status in enumerate(S)]
        + [
            event(S.SUCCESS, 2_000, step_name="again", execution=20),
            event(S.RUNNING, 9_000, step_name="again", execution=21, attempt=2),
            event(S.FAILED, 3_000, step_name="surprise", execution=30),
        ]
    )
    found = only(tables.reader.completeness("p", "d"))
    assert found.state is INCOMPLETE
    assert found.expected == tuple(steps)
    assert found.done == ("SUCCESS", "WARNING", "SKIPPED")
    assert found.failed == ("ERROR", "FAILED")
    assert found.unfinished == ("PENDING", "RUNNING", "again")
    assert found.missing == ("never",)
    assert found.unexpected == ("surprise",)
    assert found.updated_at == datetime_from_us(T0 + 9_000)
    assert tables.reader.completeness(None, "d") == [found]


def test_a_document_goes_from_incomplete_to_complete(tables: Tables) -> None:
    """It is complete with the last expected step, `unexpected` once it did more, incomplete while one is repeated."""
    declare_expected_steps(tables.clickhouse, "p", ["fetch", "ocr"])

    def state_after(*events: object) -> CompletenessState:
        tables.write(events)  # type: ignore[arg-type]
        return only(tables.reader.completeness("p", "d")).state

    assert state_after(event(S.SUCCESS, 1_000, step_name="fetch")) is INCOMPLETE
    assert state_after(event(S.RUNNING, 2_000, step_name="ocr", execution=2)) is INCOMPLETE
    assert state_after(event(S.WARNING, 3_000, step_name="ocr", execution=2)) is COMPLETE
    assert state_after(event(S.RUNNING, 4_000, step_name="ocr", execution=3)) is INCOMPLETE
    assert state_after(event(S.SUCCESS, 5_000, step_name="ocr", execution=3)) is COMPLETE
    assert state_after(event(S.RUNNING, 2_500, step_name="ocr", execution=2)) is COMPLETE
    assert state_after(event(S.ERROR, 6_000, step_name="extra", execution=4)) is UNEXPECTED


def test_unknown_and_undeclared_are_no_answer(tables: Tables) -> None:
    """Nothing is said of a document without events, nor in a pipeline that declared nothing."""
    tables.write([event(), event(pipeline="q")])
    assert tables.reader.completeness("p", "d") == []
    assert tables.reader.incomplete().items == ()
    declare_expected_steps(tables.clickhouse, "p", ["parse"])
    assert tables.reader.completeness("p", "nobody") == []
    assert tables.reader.completeness("q", "d") == []
    assert [one.pipeline for one in tables.reader.completeness(None, "d")] == ["p"]


def test_a_declaration_replaces_the_one_before_whole(tables: Tables) -> None:
    """The latest holds, with its order; an empty one takes it back; repeating one writes nothing."""
    clickhouse = tables.clickhouse

    def declared() -> dict[str, tuple[str, ...]]:
        return {one.pipeline: one.steps for one in expected_steps(clickhouse)}

    def rows() -> int:
        return int(clickhouse.query("SELECT count() FROM expected_steps_declarations")[0][0])

    before = datetime.now(timezone.utc) - timedelta(minutes=1)
    assert declare_expected_steps(clickhouse, "p", ["a", "b"])
    assert not declare_expected_steps(clickhouse, "p", ["a", "b"])
    assert declare_all(clickhouse, {"p": ["a", "b"], "q": ["x"], "nothing": []}) == ["q"]
    assert rows() == 2
    assert declared() == {"p": ("a", "b"), "q": ("x",)}
    assert before < expected_steps(clickhouse, "p")[0].declared_at < before + timedelta(minutes=2)
    assert declare_expected_steps(clickhouse, "p", ["c", "a"])
    assert declared()["p"] == ("c", "a")
    assert declare_expected_steps(clickhouse, "p", ["a", "b"])
    clickhouse.command("OPTIMIZE TABLE expected_steps_declarations FINAL")
    assert declared()["p"] == ("a", "b")
    assert declare_expected_steps(clickhouse, "q", [])
    assert not declare_expected_steps(clickhouse, "q", [])
    assert declared() == {"p": ("a", "b")}
    assert declare_expected_steps(clickhouse, "q", ["y"])
    assert [one.steps for one in tables.reader.expected_steps("q")] == [("y",)]
    shown = clickhouse.query("SELECT pipeline, steps FROM expected_steps ORDER BY pipeline")
    assert shown == [("p", ["a", "b"]), ("q", ["y"])]


def test_declaring_at_the_same_time_leaves_one(tables: Tables) -> None:
    """Of racing declarations one holds, whole and for every reader, merged or not; a later one still wins."""
    wanted = [[f"{n}-{m}" for m in range(3)] for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda steps: declare_expected_steps(tables.clickhouse, "p", steps), wanted))
    (held,) = expected_steps(tables.clickhouse, "p")
    assert list(held.steps) in wanted
    tables.clickhouse.command("OPTIMIZE TABLE expected_steps_declarations FINAL")
    assert expected_steps(tables.clickhouse, "p") == [held]
    assert tables.clickhouse.query("SELECT steps FROM expected_steps") == [(list(held.steps),)]
    assert declare_expected_steps(tables.clickhouse, "p", ["last"])
    assert expected_steps(tables.clickhouse, "p")[0].steps == ("last",)


def test_hostile_names_are_only_names(tables: Tables) -> None:
    """Quotes, placeholders and other scripts in pipelines, documents and steps find their own and no others."""
    declare_all(tables.clickhouse, {name: [*NAMES, "absent"] for name in NAMES})
    tables.write(
        [event(pipeline=p, doc_id=p, step_name=s, execution=n) for p in NAMES for n, s in enumerate(NAMES)]
    )
    for name in NAMES:
        found = only(tables.reader.completeness(name, name))
        assert (found.done, found.missing) == (tuple(NAMES), ("absent",))
    page = tables.reader.incomplete(limit=3)
    assert [one.doc_id for one in page] == sorted(NAMES, key=str.encode)[:3]
    assert [one.doc_id for one in tables.reader.incomplete(after=str(page.next))] == sorted(
        NAMES, key=str.encode
    )[3:]


def test_storage_declares_for_its_own_pipeline(database: Settings, tables: Tables) -> None:
    """A worker's storage can declare at its start; names are bounded as its events' names are."""
    with open_storage(database.with_values(max_name_bytes=64), pipeline="invoices") as storage:
        assert storage.declare_expected_steps(["fetch", "ocr"])
        assert not storage.declare_expected_steps(["fetch", "ocr"])
        assert [one.pipeline for one in storage.reader.expected_steps()] == ["invoices"]
        assert storage.declare_expected_steps(["x" * 65])
        assert storage.reader.expected_steps()[0].steps == (stored_name("x" * 65, 64),)


@pytest.mark.parametrize("seed", only_some(1, rest=[2]))
def test_the_listing_agrees_with_the_pure_fold(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Page after page, in spans of few documents, it gives exactly what a fold in Python says, in order."""
    monkeypatch.setattr(completeness, "_FIRST_SPAN", 3)
    monkeypatch.setattr(completeness, "_LONGEST_SPAN", 20)
    chance = random.Random(seed)
    declared = {"p": ["a", "b", "c"], "r": ["a"]}
    arrivals = [
        event(
            chance.choice([*S, S.SUCCESS, S.SUCCESS, S.SKIPPED]),
            chance.randint(0, 6) * 1_000,
            pipeline=chance.choice("pqr"),
            doc_id=f"doc-{chance.randint(0, 16)}",
            step_name=chance.choice("aaabbcd"),
            execution=chance.choice([1, 2]),
        )
        for _ in range(150)
    ]
    fold = Fold()
    for one in arrivals:
        fold.add(one, one.timestamp)
    steps: dict[tuple[str, str], dict[str, S]] = {}
    latest: dict[tuple[str, str], int] = {}
    for (pipeline, doc_id, step_name), now in fold.steps().items():
        steps.setdefault((pipeline, doc_id), {})[step_name] = now.current.status
        key = (pipeline, doc_id)
        latest[key] = max(latest.get(key, 0), now.current.winner_time)

    def state(key: tuple[str, str]) -> CompletenessState:
        expected, seen = declared[key[0]], steps[key]
        if not all(seen.get(step) in (S.SUCCESS, S.WARNING, S.SKIPPED) for step in expected):
            return INCOMPLETE
        return UNEXPECTED if set(seen) - set(expected) else COMPLETE

    declare_all(tables.clickhouse, declared)
    for start in range(0, len(arrivals), 50):
        tables.write(arrivals[start : start + 50])
    known = sorted(key for key in steps if key[0] in declared)
    assert len({state(key) for key in known}) == 3

    def listed(size: int, pipeline: str | None = None, **more: object) -> list[tuple[str, str]]:
        found, after = [], None
        while True:
            page = tables.reader.incomplete(pipeline, after, size, **more)  # type: ignore[arg-type]
            assert len(page) <= size
            found += [(one.pipeline, one.doc_id) for one in page]
            if page.next is None:
                return found
            assert len(page) == size
            after = str(page.next)

    wanted = [key for key in known if state(key) is INCOMPLETE]
    assert listed(3) == listed(1000) == wanted
    assert listed(5, "r") == [key for key in wanted if key[0] == "r"]
    assert listed(9, states=list(CompletenessState)) == known
    assert listed(9, states=[UNEXPECTED]) == [key for key in known if state(key) is UNEXPECTED]
    quiet = datetime_from_us(T0 + 5_000)
    assert listed(9, quiet_since=quiet) == [key for key in wanted if latest[key] < T0 + 5_000]
    for key in known[::8]:
        found = only(tables.reader.completeness(*key))
        assert found.state is state(key)
        assert completeness.completeness_of(tables.reader.document_state(*key), declared[key[0]]) == found


def test_bad_questions_are_refused(tables: Tables) -> None:
    """A limit below 1, a naive time and a text that is no cursor are told, not answered."""
    with pytest.raises(ValueError, match="limit must be at least 1"):
        tables.reader.incomplete(limit=0)
    with pytest.raises(ValueError, match="quiet_since"):
        tables.reader.incomplete(quiet_since=datetime(2025, 1, 1))  # noqa: DTZ001  naive on purpose
    with pytest.raises(BadCursor):
        tables.reader.incomplete(after="page2")


def test_missing_tables_are_told(stack: Stack, database: Settings) -> None:
    """Reading and declaring in a database that lacks the tables both say what to run."""
    with connect(database.with_values(clickhouse=stack.with_database("steptrail_absent"))) as absent:
        with pytest.raises(SchemaMismatch, match="steptrail migrate"):
            Reader(absent).completeness("p", "d")
        with pytest.raises(SchemaMismatch, match="steptrail migrate"):
            declare_expected_steps(absent, "p", ["a"])


def test_statements_read_what_they_need(tables: Tables) -> None:
    """A document costs its own granules through the view too, and a page those of its span."""
    tables.clickhouse.command(
        "INSERT INTO steps (pipeline, doc_id, step_name, status, timestamp, broker_time, event_id, execution_id) "
        "SELECT ['p', 'q'][number % 2 + 1], toString(intDiv(number, 12)), toString(number % 12), 'SUCCESS', "
        "toDateTime64('2025-06-15 15:06:40', 6, 'UTC') + toIntervalMillisecond(number) AS time, time, "
        "generateUUIDv7(), generateUUIDv4() FROM numbers(60000)"
    )
    declare_all(tables.clickhouse, {"p": ["never"], "q": ["never"]})
    asked: list[tuple[str, dict[str, object]]] = []

    class Explaining:
        def rows(
            self, sql: str, parameters: object = None, settings: object = None
        ) -> list[dict[str, object]]:
            asked.append((sql, dict(parameters)))  # type: ignore[call-overload]
            return tables.clickhouse.rows(sql, asked[-1][1])

    reader = Reader(Explaining())
    assert reader.completeness("p", "77")
    reader.incomplete("p", limit=1)
    reader.incomplete(after=DocumentCursor("q", "3"), limit=1)
    plans = [tables.explain(sql, parameters) for sql, parameters in asked]
    document, first, page_one, further, page_two = plans
    assert _granules(document)[0] <= 2 < _granules(document)[1], document
    for span in (first, further):
        # The end of a span of 1,000 documents: read in order up to there, which a plan cannot tell beforehand.
        assert "Read type: InOrder" in span, span
    assert _granules(further)[0] < _granules(further)[1] // 2, further
    for listing in (page_one, page_two):
        selected, total = _granules(listing)
        assert selected <= total // 3, listing
    # People ask the view with conditions of their own.
    plan = tables.explain("SELECT * FROM document_completeness WHERE pipeline = 'p' AND doc_id = '77'", {})
    assert _granules(plan)[0] <= 2, plan


def _granules(plan: str) -> tuple[int, int]:
    """Granules of `steps`, the large table: read, and all."""
    found = [(int(a), int(b)) for a, b in re.findall(r"Granules: (\d+)/(\d+)", plan)]
    total = max(b for _, b in found)
    return min(a for a, b in found if b == total), total
