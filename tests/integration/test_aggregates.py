"""Minutes and error groups on the real engine: equal to what the events say, however they came and were counted."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

import pytest

from steptrail.projections.aggregates import error_group_counts
from steptrail.projections.aggregates.error_group_counts import OTHER
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.errors import StoreUnavailable
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.event import StepEvent
from steptrail.schemas.status import ProcessingStatus as S
from support.counted import PARTITIONS, Consumer, empty
from support.effort import ONLY_IN_TEST_ALL
from support.projected import T0, Arrival, event
from support.stack import Stack, new_workspace

MINUTE = 60_000_000
MINUTES = """
SELECT toUnixTimestamp(minute), pipeline, step_name, events, pending, running, success, warning, error, failed,
    skipped, timed, duration_sum, duration_min, duration_max, p50, p95, p99
FROM step_minutes ORDER BY ALL
"""
METRICS = """
SELECT toUnixTimestamp(minute), pipeline, step_name, metric, values, sum, min, max FROM step_metrics ORDER BY ALL
"""
HOURS = """
SELECT hour, group_id, pipeline, step_name, error_type, template, first_seen, last_seen, count,
    finalizeAggregation(documents), finalizeAggregation(templates), examples
FROM error_group_hours FINAL ORDER BY ALL
"""


@pytest.fixture(scope="module")
def database(stack: Stack) -> Iterator[ClickHouse]:
    with new_workspace(stack) as settings, connect(settings) as clickhouse:
        yield clickhouse


@pytest.fixture
def store(database: ClickHouse) -> ClickHouse:
    """Empty tables."""
    empty(database)
    return database


def history(chance: random.Random, size: int) -> list[tuple[int, Arrival]]:
    """Events of some hours in the order of a topic, with steps, errors, metrics, and some sent twice much later."""
    log: list[tuple[int, Arrival]] = []
    for number in range(size):
        doc_id = f"doc-{chance.randint(0, 40)}"
        status = chance.choice([*S, S.ERROR, S.FAILED])
        one = event(
            status,
            number,
            doc_id=doc_id,
            pipeline=chance.choice("pq"),
            step_name=chance.choice(["ocr", "parse"]),
            duration_ms=chance.choice([None, 0.0, 0.1, 1.0e6 * chance.random(), -3.7, 1e300]),
            metrics=chance.choice(
                ["{}", '{"a":1,"b":0.1}', '{"a":-2.5,"c":"12","d":true,"e":null}', '{"a":1e300,"b":[1]}']
            ),
            error_type=chance.choice([None, "", "ValueError"]) if status.is_error else None,
            error_message=(
                chance.choice([None, "", f"no page {chance.randint(0, 9999)}", "it's broken", "x" * 9000])
                if status.is_error
                else None
            ),
        )
        # One key, one partition, in which the broker's time does not go back.
        log.append((int(doc_id[4:]) % PARTITIONS, (one, T0 + number * 9_000_000)))
        if chance.random() < 0.2:
            partition, (copy, _) = chance.choice(log)
            log.append((partition, (copy, T0 + number * 9_000_000)))
    return log


def firsts(log: Sequence[tuple[int, Arrival]]) -> list[Arrival]:
    """Each event once, its first copy."""
    seen: dict[bytes, Arrival] = {}
    for _, arrival in log:
        seen.setdefault(arrival[0].event_id, arrival)
    return list(seen.values())


def cut(log: Sequence[Any], chance: random.Random, pieces: int) -> list[Sequence[Any]]:
    cuts = sorted(chance.sample(range(1, len(log)), pieces - 1))
    return [log[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(log)], strict=True)]


def everything(clickhouse: ClickHouse) -> list[list[tuple[Any, ...]]]:
    return [clickhouse.query(sql) for sql in (MINUTES, METRICS, HOURS)]


@pytest.mark.parametrize(
    "into_us", [0, 59_000_000, 59_001_000, MINUTE - 1_000], ids=lambda us: f"{us / 1e6} s"
)
def test_an_event_counts_wherever_in_its_minute_it_lies(store: ClickHouse, into_us: int) -> None:
    """Also when all events of a part lie in the last second of a minute, or of an hour."""
    for begin in (T0 // MINUTE * MINUTE, T0 // (60 * MINUTE) * 60 * MINUTE + 59 * MINUTE):
        empty(store)
        error = event(S.ERROR, begin + into_us - T0, error_message="no answer")
        assert Consumer(store).count([(0, (error, begin + into_us))]).error_minutes == 1
        [(minute, _pipeline, _step, events, *_)] = store.query(MINUTES)
        assert (minute, events) == (begin // 1_000_000, 1)
        assert [row[8] for row in store.query(HOURS)] == [1]


def test_minutes_and_groups_say_what_the_events_say(store: ClickHouse) -> None:
    """Counts by status, durations, metrics and groups are those of the events, each once, counted in Python."""
    log = history(random.Random(1), 1500)
    consumer = Consumer(store)
    for piece in cut(log, random.Random(2), 12):
        assert consumer.count(piece).minutes

    by_step: dict[tuple[int, str, str], list[StepEvent]] = defaultdict(list)
    groups: dict[tuple[str, ...], list[Arrival]] = defaultdict(list)
    metrics: dict[tuple[int, str, str, str], list[float]] = defaultdict(list)
    for one, broker_us in firsts(log):
        minute = broker_us // MINUTE * 60
        by_step[minute, one.pipeline, one.step_name].append(one)
        for name, value in json.loads(one.metrics).items():
            if type(value) in (int, float):
                metrics[minute, one.pipeline, one.step_name, name].append(value)
        if one.status.is_error:
            said = (
                "no page <num>"
                if (one.error_message or "").startswith("no page")
                else one.error_message or ""
            )
            said = f"{said[:255]}…" if len(said) > 256 else said
            hour = broker_us // (60 * MINUTE)
            groups[str(hour), one.pipeline, one.step_name, one.error_type or "", said].append(
                (one, broker_us)
            )

    rows = {row[:3]: row[3:] for row in store.query(MINUTES)}
    assert rows.keys() == by_step.keys()
    for key, (events, *by_status, timed, total, least, most, p50, _, p99) in rows.items():
        there = by_step[key]
        assert events == len(there)
        assert by_status == [sum(one.status is status for one in there) for status in S]
        durations = [one.duration_ms for one in there if one.duration_ms is not None]
        assert timed == len(durations)
        assert (least, most) == ((min(durations), max(durations)) if durations else (None, None))
        assert total == pytest.approx(sum(min(d, 1e40) for d in durations), rel=1e-12)
        if durations:
            assert p99 == pytest.approx(sorted(durations)[int(0.99 * (len(durations) - 1))], rel=0.02)
        else:
            assert p50 is None
    assert {row[:4]: row[4:] for row in store.query(METRICS)} == {
        key: (len(values), pytest.approx(sum(min(v, 1e40) for v in values)), min(values), max(values))
        for key, values in metrics.items()
    }
    found = {
        (str(int(hour.timestamp()) // 3600), *who): (first, last, count, documents, templates)
        for hour, _, *who, first, last, count, documents, templates, _ in store.query(HOURS)
    }
    assert found == {
        key: (
            datetime.fromtimestamp(min(us for _, us in there) / 1e6, timezone.utc),
            datetime.fromtimestamp(max(us for _, us in there) / 1e6, timezone.utc),
            len(there),
            len({one.doc_id for one, _ in there}),
            1,
        )
        for key, there in groups.items()
    }


@ONLY_IN_TEST_ALL
@pytest.mark.parametrize("seed", [3, 4])
def test_a_replay_gives_the_same_rows(store: ClickHouse, seed: int) -> None:
    """In other cuts, partitions read at another pace, counted at other moments: the same, to the row."""
    chance = random.Random(seed)
    log = history(chance, 600)
    first = Consumer(store)
    for piece in cut(log, chance, 3):
        first.count(piece)
    expected = everything(store)
    assert all(expected)
    empty(store)
    # The partitions one after another in pieces of their own, and refreshed but now and then.
    again = Consumer(store, every_s=1e9)
    for partition in chance.sample(range(PARTITIONS), PARTITIONS):
        for piece in cut([entry for entry in log if entry[0] == partition], chance, 5):
            again.aggregates.refresh(*again.write(piece))
            if chance.random() < 0.4:
                again.aggregates.count_now()
    again.aggregates.count_now()
    assert everything(store) == expected
    # From the beginning by a successor, into the same tables.
    store.command("TRUNCATE TABLE aggregate_marks")
    counted = Consumer(store).aggregates.count_now()
    assert counted.minutes == len({row[0] for row in expected[0]})
    assert everything(store) == expected
    store.command("OPTIMIZE TABLE error_group_hours FINAL")
    store.command("OPTIMIZE TABLE step_minute_rows FINAL")
    assert everything(store) == expected


def test_what_a_dead_consumer_left_is_counted_by_the_next(store: ClickHouse) -> None:
    """Written and never refreshed, or refreshed half-way: whoever comes next finds it in the data."""
    log = history(random.Random(5), 200)
    dead = Consumer(store, every_s=1e9)
    dead.aggregates.refresh(*dead.write(log[:100]))  # the first is due at once
    before = everything(store)
    assert dead.aggregates.refresh(*dead.write(log[100:])) is None
    assert everything(store) == before
    successor = Consumer(store)
    assert successor.aggregates.count_if_due() is not None
    assert sum(row[3] for row in store.query(MINUTES)) == len(firsts(log))
    assert successor.aggregates.count_now().minutes == 0


def test_a_late_event_is_counted_in_its_minute(store: ClickHouse) -> None:
    """An event that the broker had long ago, read now: its minute and its hour change, no other does."""
    on_time = [
        (0, (event(S.ERROR, doc_id=f"d{n}", error_message=f"bad {n}"), T0 + n * MINUTE)) for n in range(90)
    ]
    consumer = Consumer(store)
    consumer.count(on_time)
    before = store.query(MINUTES)
    late = (1, (event(S.FAILED, doc_id="late", error_message="bad 0"), T0 + 3 * MINUTE))
    told = consumer.count([late])
    assert (told.minutes, told.error_minutes) == (1, 1)
    after = store.query(MINUTES)
    assert [number for number, row in enumerate(after) if row != before[number]] == [3]
    [(count, documents)] = store.query("SELECT count, documents FROM error_groups")
    assert (count, documents) == (91, 91)


def test_a_slow_predecessor_cannot_put_an_old_count_in_place(store: ClickHouse) -> None:
    """What was counted before more had been read loses, though it is written later."""
    consumer = Consumer(store)
    consumer.count([(0, (event(S.ERROR), T0))])
    tables = ("step_minute_rows", "error_group_minutes", "error_group_hours")
    for table in tables:
        store.command(f"CREATE TABLE IF NOT EXISTS old_{table} AS {table}")
        store.command(f"INSERT INTO old_{table} SELECT * FROM {table}")
    consumer.count([(0, (event(S.ERROR), T0))])
    expected = everything(store)
    for table in tables:
        store.command(f"INSERT INTO {table} SELECT * FROM old_{table}")
        store.command(f"DROP TABLE old_{table}")
    assert everything(store) == expected
    assert store.query("SELECT sum(count) FROM error_groups") == [(2,)]


@pytest.mark.parametrize("many", [100_000, 1000])
def test_templates_past_the_bound_are_one_group(
    store: ClickHouse, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """All messages different: as many groups as allowed in a minute, the most frequent; the rest is one, counted.

    So many that distinct messages are not looked for, too.
    """
    monkeypatch.setattr(error_group_counts, "_MANY", many)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [a + b + c for a in letters for b in letters for c in letters[:5]]
    log = [(0, (event(S.ERROR, doc_id=word, error_message=f"cannot read {word}"), T0)) for word in words]
    log += [(0, (event(S.ERROR, error_message="the disk is full"), T0)) for _ in range(7)]
    consumer = Consumer(store, templates_of_a_minute=50)
    consumer.count(log)
    rows = store.query("SELECT template, count, documents, templates FROM error_groups ORDER BY count DESC")
    assert len(rows) == 51
    assert rows[0] == (OTHER, len(words) - 49, len(words) - 49, len(words) - 49)
    assert rows[1] == ("the disk is full", 7, 1, 1)
    assert {row[1:] for row in rows[2:]} == {(1, 1, 1)}
    [(examples,)] = store.query(
        "SELECT length(examples) FROM error_group_hours WHERE template = {other:String}", {"other": OTHER}
    )
    assert examples == 3


def test_refreshing_takes_its_share_of_the_time_and_no_more(store: ClickHouse) -> None:
    """Between two refreshes lie so many seconds, or six times what the last one took."""
    now = [100.0]
    taking = [0.0]

    def clock() -> float:
        now[0] += taking[0]
        return now[0]

    consumer = Consumer(store, every_s=5.0, clock=clock)
    batch = consumer.write([(0, (event(), T0))])
    assert consumer.aggregates.refresh(*batch) is not None
    now[0] = 104.9
    assert consumer.aggregates.refresh(*consumer.write([(0, (event(), T0))])) is None
    now[0], taking[0] = 105.1, 2.0
    assert consumer.aggregates.count_if_due() is not None  # seen to take 2 s by this clock
    taking[0] = 0.0
    begun = now[0]
    consumer.aggregates.refresh(*consumer.write([(0, (event(), T0))]))
    now[0] = begun + 11.9
    assert consumer.aggregates.count_if_due() is None
    now[0] = begun + 12.1
    assert consumer.aggregates.count_if_due() is not None
    now[0] += 100
    assert consumer.aggregates.count_if_due() is None, "there was nothing to count"


def test_a_store_that_is_away_is_tried_again(store: ClickHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error comes as InfrastructureError, whatever statement it hits, and nothing of the range is forgotten."""
    log = history(random.Random(6), 60)
    expected_events = len(firsts(log))
    real = ClickHouse.command
    statements = [0, 0]  # so many were sent, this one fails

    def cut_off(self: ClickHouse, sql: str, *args: Any, **more: Any) -> None:
        statements[0] += 1
        if statements[0] == statements[1]:
            raise StoreUnavailable("made up: the connection was cut")
        real(self, sql, *args, **more)

    for failing in range(1, 6):
        empty(store)
        consumer = Consumer(store)
        told = consumer.write(log)
        statements[:] = [0, failing]
        with monkeypatch.context() as patch:
            patch.setattr(ClickHouse, "command", cut_off)
            with pytest.raises(InfrastructureError):
                consumer.aggregates.refresh(*told)
        assert consumer.aggregates.count_now().minutes > 0
        assert sum(row[3] for row in store.query(MINUTES)) == expected_events
        errors = sum(one.status.is_error for one, _ in firsts(log))
        assert store.query("SELECT sum(count) FROM error_group_hours FINAL") == [(errors,)]
