"""Reading in windows of time: the rows of one statement, and no more read than what is near the position."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest

from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.queries import ask, scope
from steptrail.projections.reading.documents import documents_by_time
from steptrail.projections.reading.failing import failing
from steptrail.projections.reading.reader import Reader
from steptrail.projections.reading.spans import AFTER_ALL, BEFORE_ALL
from steptrail.projections.reading.windows import FIRST_OF_RARE_US, ask_backward, ask_forward
from steptrail.schemas.event import datetime_from_us
from steptrail.schemas.status import ProcessingStatus
from support.effort import effort
from support.stack import Stack, new_workspace

DAY_US = 86_400_000_000
EVENTS = 400_000
_INSERT = """
INSERT INTO steps
    (pipeline, doc_id, step_name, status, timestamp, broker_time, event_id, execution_id, attempt,
     details, metrics, depends_on)
SELECT concat('p', toString(number % 4)), concat('d', toString(sipHash64(number) % 50000)), 's', {status:String},
    fromUnixTimestamp64Micro({first:Int64} + toInt64(number) * {apart:Int64}, 'UTC') AS happened,
    toDateTime64(happened, 3, 'UTC'), generateUUIDv7(), generateUUIDv4(), 1, '{}', '{}', '[]'
FROM numbers({events:UInt64})
"""


class Counting:
    """A store that counts statements in the order of time, and the rows that the engine reads for them."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self.clickhouse = clickhouse
        self.statements = self.all_statements = self.rows_read = 0

    def rows(
        self, sql: str, parameters: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        answer = self.clickhouse.answer(sql, parameters, {"wait_end_of_query": 1, **(settings or {})})
        self.all_statements += 1
        if "ORDER BY timestamp" in sql:  # not what looks up single documents, by their key
            self.statements += 1
            self.rows_read += answer.read_rows
        return [dict(zip(answer.names, row, strict=True)) for row in answer.rows]


@pytest.fixture(scope="module")
def database(stack: Stack) -> Iterator[ClickHouse]:
    with new_workspace(stack) as settings, connect(settings) as clickhouse:
        yield clickhouse


@pytest.fixture
def store(database: ClickHouse) -> ClickHouse:
    """An empty one."""
    for table in ("steps", "step_executions"):
        database.command(f"TRUNCATE TABLE {table}")
    return database


def write(store: ClickHouse, first_us: int, apart_us: int, events: int, status: str = "ERROR") -> None:
    store.command(
        _INSERT,
        {"first": first_us, "apart": apart_us, "events": events, "status": status},
        settings={"max_partitions_per_insert_block": 0},
    )


@pytest.mark.thorough
@pytest.mark.parametrize("rare", ["", "rare_"])
@pytest.mark.parametrize("backward", [True, False])
def test_windows_give_the_rows_of_one_statement(store: ClickHouse, backward: bool, rare: str) -> None:
    """Whatever the span, the position and how many are wanted; dense and sparse, years old and ahead of now."""
    now = time.time_ns() // 1000
    write(store, now - 3 * 365 * DAY_US, 40 * DAY_US, 25)
    write(store, now - 200 * DAY_US, DAY_US // 24, 300)
    write(store, now - 3_000_000_000, 10_000_000, 320)  # to 200 s ahead
    write(store, now - 9 * DAY_US, 0, 30)  # all at the same time
    rng = random.Random(5)
    known = [
        (int(row["us"]), row["event_id"])
        for row in store.rows(
            "SELECT toUnixTimestamp64Micro(timestamp) AS us, event_id FROM steps ORDER BY us"
        )
    ]
    name, windowed = ("events_backward", ask_backward) if backward else ("events_forward", ask_forward)
    name = rare + name
    first = (AFTER_ALL, UUID(int=2**128 - 1)) if backward else (BEFORE_ALL, UUID(int=0))
    for us, _ in rng.sample(known, 5):
        for edge in (us, us + 1):  # where the first window ends: at an event, and just behind it
            parameters = {**_everything(), "from_us": first[0], "from_id": str(first[1]), "fetch": 10_000}
            if backward:
                parameters["end_us"] = edge + FIRST_OF_RARE_US
            else:
                parameters["start_us"] = edge - FIRST_OF_RARE_US
            parameters["statuses"] = ["ERROR"]
            assert windowed(store, name, parameters) == ask(store, name, parameters), parameters
    for _ in range(effort(20, 60)):
        start, end = sorted(rng.choice(known)[0] + rng.choice((-1, 0, 1)) for _ in range(2))
        position = rng.choice(known) if rng.random() < 0.5 else first
        parameters = {
            **scope(rng.choice((None, "p3"))),
            "statuses": ["ERROR"],
            "start_us": rng.choice((BEFORE_ALL, start)),
            "end_us": rng.choice((AFTER_ALL, end)),
            "from_us": position[0],
            "from_id": str(position[1]),
            "fetch": rng.choice((1, 7, 100, 10_000)),
        }
        assert windowed(store, name, parameters) == ask(store, name, parameters), parameters


@pytest.mark.parametrize("ended_days_ago", [0, 400])
def test_the_latest_are_found_without_reading_all(store: ClickHouse, ended_days_ago: int) -> None:
    """Errors, documents, what is failing, of any time: a small share of the rows, also when nothing came for long."""
    now = time.time_ns() // 1000
    apart = 60 * DAY_US // EVENTS
    write(store, now - ended_days_ago * DAY_US - EVENTS * apart, apart, EVENTS)
    long_ago = datetime_from_us(now - 1000 * DAY_US)
    for question in (
        lambda counting: Reader(counting).recent_errors(None, long_ago, limit=100),
        lambda counting: Reader(counting).events(limit=20).items,  # each is looked up in a granule of its own
        lambda counting: documents_by_time(counting, None, limit=20).items,
        lambda counting: documents_by_time(counting, None, statuses=[ProcessingStatus.ERROR], limit=20).items,
        lambda counting: failing(counting, None, limit=20).items,
    ):
        counting = Counting(store)
        assert len(question(counting)) >= 20
        assert 0 < counting.rows_read < EVENTS // 3
        assert counting.statements <= 4
        single = Counting(store)
        ask(single, "rare_events_backward", {**_everything(), "fetch": 100})
        assert single.rows_read >= EVENTS  # what one statement over everything reads


@pytest.mark.parametrize("status", ["ERROR", "SUCCESS"])
def test_nothing_for_days_costs_no_statement_more(store: ClickHouse, status: str) -> None:
    """The first window ends at the newest event; one with too few rows says how long the next has to be."""
    newest = time.time_ns() // 1000 - 9 * DAY_US
    write(store, newest - 1_000 * 20_000_000, 20_000_000, 1_000, status)  # three a minute
    chosen = ProcessingStatus(status)
    counting = Counting(store)
    assert len(Reader(counting).events(statuses=[chosen], limit=3).items) == 3
    assert counting.all_statements == 1
    counting = Counting(store)
    assert len(Reader(counting).events(statuses=[chosen], limit=300).items) == 300
    assert counting.all_statements == 2


def test_the_earliest_and_a_page_before_another_read_no_more(store: ClickHouse) -> None:
    """Forward from the beginning, and back from a page in the middle."""
    now = time.time_ns() // 1000
    apart = 60 * DAY_US // EVENTS
    write(store, now - EVENTS * apart, apart, EVENTS)
    counting = Counting(store)
    first = Reader(counting).events(limit=20, newest_first=False)
    assert first.items[0].timestamp == datetime_from_us(now - EVENTS * apart)
    middle = Reader(store).events(limit=100, end=datetime_from_us(now - 30 * DAY_US))
    before = Reader(counting).events(limit=20, before=middle.items[50].cursor)
    assert before.items[-1].cursor > middle.items[50].cursor
    assert len(before.items) == 20
    assert counting.rows_read < EVENTS // 2


def test_documents_in_a_rare_state_are_found_with_few_statements(store: ClickHouse) -> None:
    """Thousands are looked through for a page that none of them is on."""
    now = time.time_ns() // 1000
    write(store, now - EVENTS * 1_000, 1_000, EVENTS, status="SUCCESS")
    counting = Counting(store)
    page = documents_by_time(counting, None, statuses=[ProcessingStatus.FAILED], limit=50)
    assert page.items == ()
    assert page.next is not None
    assert counting.all_statements <= 6


def test_a_span_without_events_costs_few_statements(store: ClickHouse) -> None:
    """Nothing there, and nothing of that kind: a handful of statements either way."""
    now = time.time_ns() // 1000
    counting = Counting(store)
    assert list(Reader(counting).events().items) == []
    write(store, now - DAY_US, 10_000_000, 1000, status="SUCCESS")
    assert list(Reader(counting).events(statuses=[ProcessingStatus.FAILED]).items) == []
    assert counting.statements <= 18


def _everything() -> dict[str, Any]:
    return {
        **scope(None),
        "statuses": [status.value for status in ProcessingStatus],
        "start_us": BEFORE_ALL,
        "end_us": AFTER_ALL,
        "from_us": AFTER_ALL,
        "from_id": str(UUID(int=2**128 - 1)),
    }
