"""What is failing and what is in progress, against the fold of everything: the view `step_state`."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.reading.document_summaries import summaries_of
from steptrail.projections.reading.documents import documents_by_name, documents_by_time
from steptrail.projections.reading.failing import failing, failing_counts
from steptrail.projections.reading.in_progress import in_progress, in_progress_counts
from steptrail.projections.reading.spans import Span
from steptrail.projections.reading.whole_document import WholeDocument, whole_document
from steptrail.schemas.event import datetime_from_us
from steptrail.schemas.status import ProcessingStatus as S
from support.asked import Asked
from support.effort import effort, only_some
from support.projected import T0, Arrival, Tables, event
from support.stack import Stack, new_workspace

SECOND = 1_000_000
DOCUMENTS = 60


@pytest.fixture(scope="module")
def database(stack: Stack) -> Iterator[ClickHouse]:
    with new_workspace(stack) as settings, connect(settings) as clickhouse:
        yield clickhouse


@pytest.fixture(scope="module", params=only_some([3, 1], [11, 256], rest=[[11, 1]]))
def tables(request: pytest.FixtureRequest, database: ClickHouse) -> Tables:
    """Random histories in batches of any cut: retries, queued work, endings that are late, copies, clocks ahead.

    Ids of executions are multiples of a number: of 256, so that their last byte, the column `run`, is always the same.
    """
    for table in ("steps", "step_executions"):
        database.command(f"TRUNCATE TABLE {table}")
    seed, multiple = request.param
    chance = random.Random(seed)
    tables = Tables(database)
    arrivals = [arrival for number in range(DOCUMENTS) for arrival in _history(chance, number, multiple)]
    chance.shuffle(arrivals)
    while arrivals:
        cut = chance.randint(1, 40)
        tables.write(arrivals[:cut])
        arrivals = arrivals[cut:]
    return tables


def _history(chance: random.Random, number: int, multiple: int) -> list[Arrival]:
    found: list[Arrival] = []
    time = number * SECOND
    for attempt in range(1, chance.randint(1, 4) + 1):
        execution = number * 1000 + attempt * 10 + chance.randint(1, 3)
        statuses = chance.choice(
            [[S.PENDING], [S.RUNNING], [S.ERROR], [S.RUNNING, S.ERROR], [S.PENDING, S.RUNNING, S.FAILED],
             [S.RUNNING, S.SUCCESS], [S.RUNNING, S.WARNING], [S.SKIPPED], [S.RUNNING, S.ERROR, S.SUCCESS]]
        )  # fmt: skip
        pipeline, step_name = chance.choice(["p"] * 9 + ["q"]), chance.choice(["ocr", "ocr", "parse"])
        for status in statuses:
            time += chance.choice([0, 1, 400_000, 3 * SECOND])
            one = event(
                status, time, execution=execution * multiple, attempt=attempt, doc_id=f"doc-{number:03d}",
                pipeline=pipeline, step_name=step_name,
                error_message="boom" if status.is_error else None,
            )  # fmt: skip
            broker_us = one.timestamp + chance.choice([0, 5_000, SECOND, -2 * SECOND])
            found += [(one, broker_us)] * chance.choice([1, 1, 1, 2])
    return found


Key = tuple[str, str, str, str]


def folded(tables: Tables, *statuses: str) -> set[Key]:
    rows = tables.clickhouse.query(
        "SELECT pipeline, step_name, doc_id, toString(status) FROM step_state "
        "WHERE toString(status) IN {s:Array(String)}",
        {"s": list(statuses)},
    )
    return {(p, step, doc, status) for p, step, doc, status in rows}


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("limit", [7, 500])
def test_what_is_failing_is_what_the_fold_says(tables: Tables, limit: int, merged: bool) -> None:
    """Each step once, over all pages, newest first; counts agree."""
    if merged:
        tables.merge()
    found: list[Key] = []
    times = []
    after = None
    while True:
        page = failing(tables.clickhouse, None, after=after, limit=limit)
        found += [(each.pipeline, each.step_name, each.doc_id, each.status.value) for each in page.items]
        times += [each.cursor for each in page.items]
        after = page.next
        if after is None:
            break
    assert len(found) == len(set(found))
    assert set(found) == folded(tables, "ERROR", "FAILED")
    assert times == sorted(times, reverse=True)
    counts = failing_counts(tables.clickhouse, None)
    assert sum(each.documents for each in counts) == len(found)
    assert sum(each.can_be_retried for each in counts) == sum(status == "ERROR" for *_, status in found)


def test_where_too_much_happened_since_every_ending_is_looked_up(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same answer, whether the events since then tell what was mended or not."""
    known = failing(tables.clickhouse, None, limit=500).items
    monkeypatch.setattr("steptrail.projections.reading.failing._MOST_SCANNED", 3)
    assert failing(tables.clickhouse, None, limit=500).items == known


@pytest.mark.thorough
@pytest.mark.parametrize("merged", [False, True])
def test_a_whole_document_is_folded_as_the_store_folds_it(tables: Tables, merged: bool) -> None:
    """The states of its steps and its events, from one statement."""
    if merged:
        tables.merge()
    names = tables.clickhouse.query("SELECT DISTINCT pipeline, doc_id FROM steps ORDER BY ALL")
    assert len(names) > DOCUMENTS // 2
    for pipeline, doc_id in names[:: effort(3, 1)]:
        found = whole_document(tables.clickhouse, pipeline, doc_id, 1000)
        assert found is not None
        assert list(found.states) == tables.reader.document_state(pipeline, doc_id)
        assert found.events == tables.reader.timeline(pipeline, doc_id, limit=1000).items
        assert whole_document(tables.clickhouse, pipeline, doc_id, len(found.events) - 1) is None
    assert whole_document(tables.clickhouse, "p", "nobody", 5) == WholeDocument((), ())


@pytest.mark.parametrize("seconds", [None, 30])
def test_documents_are_summed_up_here_as_the_store_folds_them(
    tables: Tables, monkeypatch: pytest.MonkeyPatch, seconds: int | None
) -> None:
    """Few events are folded here, many by the view: the document is the same. Others of its id do not mix in."""
    until = None if seconds is None else datetime_from_us(T0 + seconds * SECOND)
    names = [
        (str(pipeline), str(doc_id))
        for pipeline, doc_id in tables.clickhouse.query("SELECT DISTINCT pipeline, doc_id FROM steps")
    ]
    assert len({doc_id for _, doc_id in names}) < len(names)
    here = summaries_of(tables.clickhouse, names, until)
    assert set(here) == set(names)
    assert summaries_of(tables.clickhouse, [*names[:1], ("p", "never")], until) == {names[0]: here[names[0]]}
    monkeypatch.setattr("steptrail.projections.reading.spans._FEW_PIPELINES", 0)  # looked up by pairs
    assert here == summaries_of(tables.clickhouse, names, until)
    monkeypatch.setattr("steptrail.projections.reading.document_summaries._MOST_ROWS", 0)
    assert here == summaries_of(tables.clickhouse, names, until)


def test_what_fails_is_the_same_however_documents_are_looked_up(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By pipeline and by id, or by pairs of both."""
    by_lists = failing(tables.clickhouse, None, limit=100).items
    assert by_lists
    monkeypatch.setattr("steptrail.projections.reading.spans._FEW_PIPELINES", 0)
    assert failing(tables.clickhouse, None, limit=100).items == by_lists


@pytest.mark.parametrize("limit", [7, 500])
def test_what_is_in_progress_is_what_the_fold_says(tables: Tables, limit: int) -> None:
    """Each step once, over all pages, the oldest first; counts agree."""
    found: list[Key] = []
    after = None
    while True:
        page = in_progress(tables.clickhouse, None, after=after, limit=limit)
        found += [(each.pipeline, each.step_name, each.doc_id, each.status.value) for each in page.items]
        after = page.next
        if after is None:
            break
    assert len(found) == len(set(found))
    assert set(found) == folded(tables, "RUNNING", "PENDING")
    counts = in_progress_counts(tables.clickhouse, None)
    assert sum(each.running for each in counts) == sum(status == "RUNNING" for *_, status in found)
    assert sum(each.queued for each in counts) == sum(status == "PENDING" for *_, status in found)


def test_documents_are_the_same_by_time_and_by_name(tables: Tables) -> None:
    """Each once, whatever the size of a page; with the states that the fold has."""
    by_time, by_name = [], []
    after = None
    while True:
        page = documents_by_time(tables.clickhouse, None, after=after, limit=9)
        by_time += list(page.items)
        after = page.next
        if after is None:
            break
    while True:
        page = documents_by_name(tables.clickhouse, None, after=after, limit=9)
        by_name += list(page.items)
        after = page.next
        if after is None:
            break
    assert sorted(by_time, key=lambda each: (each.pipeline, each.doc_id)) == by_name
    assert [each.last_event for each in by_time] == sorted(
        (each.last_event for each in by_time), reverse=True
    )
    states = {
        (each.pipeline, step.step_name, each.doc_id, step.status.value)
        for each in by_name
        for step in each.steps
    }
    assert states == folded(tables, *(status.value for status in S))


@pytest.mark.parametrize(
    "statuses", [*([status] for status in S), [S.ERROR, S.FAILED], [S.SUCCESS, S.RUNNING]]
)
@pytest.mark.parametrize("limit", only_some(7, rest=[3, 100]))
def test_documents_in_a_state_are_those_of_all_that_are_in_it(
    tables: Tables, statuses: list[S], limit: int
) -> None:
    """Over all pages, in the order of their last events."""
    every = documents_by_time(tables.clickhouse, None, limit=1_000).items
    found = []
    after = None
    while True:
        page = documents_by_time(tables.clickhouse, None, statuses=statuses, after=after, limit=limit)
        found += list(page.items)
        after = page.next
        if after is None:
            break
    assert found == [each for each in every if each.status in statuses]


def test_a_span_holds_what_failed_last_within_it(tables: Tables) -> None:
    """By the time of the bad ending."""
    middle = datetime_from_us(T0 + DOCUMENTS // 2 * SECOND)
    whole = {each.cursor for each in failing(tables.clickhouse, None, limit=500).items}
    early = {
        each.cursor for each in failing(tables.clickhouse, None, span=Span(None, middle), limit=500).items
    }
    late = {
        each.cursor for each in failing(tables.clickhouse, None, span=Span(middle, None), limit=500).items
    }
    assert early | late == whole
    assert not early & late


def test_a_page_of_failing_steps_takes_no_more_statements_when_most_were_mended(
    database: ClickHouse,
) -> None:
    """How far back, which were not mended, which are failing: 20 of 20 bad endings, then of 400, the others retried."""
    for table in ("steps", "step_executions"):
        database.command(f"TRUNCATE TABLE {table}")
    failing_ones: list[Arrival] = []
    mended: list[Arrival] = []
    for number in range(400):
        document, time = f"doc-{number:03d}", number * SECOND
        fails = number % 20 == 0
        statuses = [S.RUNNING, S.ERROR] + ([] if fails else [S.RUNNING, S.SUCCESS])
        for place, status in enumerate(statuses):
            one = event(
                status, time + place, execution=number * 2 + place // 2, attempt=1 + place // 2, doc_id=document,
                pipeline="p", step_name="ocr", error_message="boom" if status.is_error else None,
            )  # fmt: skip
            (failing_ones if fails else mended).append((one, one.timestamp))
    asked: list[int] = []
    for arrivals in (failing_ones, mended):
        Tables(database).write(arrivals)
        counting = Asked(database)
        found = failing(counting, "p", limit=100)
        assert [each.doc_id for each in found.items] == [
            f"doc-{number:03d}" for number in range(380, -1, -20)
        ]
        assert found.next is None
        asked.append(counting.statements)
    assert asked[1] <= asked[0]
