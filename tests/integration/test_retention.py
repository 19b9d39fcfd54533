"""Retention on the real engine: what goes, what stays, in every table, as the rules are shortened and lengthened."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from steptrail.consumers.projector.retention_task import RetentionTask
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.lifecycle.retention import apply, expired, kept, today
from steptrail.projections.lifecycle.retention_rules import (
    DEFAULT,
    RetentionRule,
    RetentionRules,
    retention_rules,
    write_rule,
)
from steptrail.projections.lifecycle.stored_tables import EVENT_TABLES
from steptrail.projections.stores.health_store import VerdictRow, write_verdicts
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.status import ProcessingStatus as S
from support.erasing import Records, engine_on_a_folder, letter_about, stall_of
from support.projected import T0, event

DAY = 86_400_000_000
FOR_EVER = RetentionRules(RetentionRule(DEFAULT), {})


@pytest.fixture(scope="module")
def engine() -> Iterator[tuple[ClickHouse, Path]]:
    with engine_on_a_folder() as found:
        yield found


@pytest.fixture
def store(engine: tuple[ClickHouse, Path]) -> ClickHouse:
    """Empty tables and no rules."""
    clickhouse, _ = engine
    for table in (*(table.name for table in EVENT_TABLES), "retention_changes"):
        clickhouse.command(f"TRUNCATE TABLE {table}")
    Records(clickhouse).forget_ledger()
    return clickhouse


def filled(clickhouse: ClickHouse, *ages: tuple[str, int]) -> Records:
    """For each pipeline and age in days a document that failed, with all that is kept of it."""
    now_us = int(today(clickhouse).timestamp()) * 1_000_000 + DAY // 2
    records = Records(clickhouse)
    verdicts: list[VerdictRow] = []
    for number, (pipeline, days) in enumerate(ages, 1):
        us = now_us - days * DAY
        one = event(
            S.ERROR,
            us - T0,
            pipeline=pipeline,
            doc_id=f"{pipeline}-{days}",
            execution=number,
            error_message="no page",
            metrics='{"pages":2}',
        )
        records.events.append((one, us))
        records.observations.append((stall_of(one, "has not ended"), us))
        letter = letter_about(f"{pipeline}-{days}", "not JSON", number, us // 1000)
        records.letters.append((letter, us))
        verdicts.append(
            VerdictRow(pipeline, "parse", number, "WARNING", us / 1e6, us / 1e6, "it fails", "[]")
        )
    write_verdicts(clickhouse, verdicts)
    records.project()
    return records


def ages(clickhouse: ClickHouse, table: str) -> set[tuple[str, int]]:
    """Pipeline and age in days of each row."""
    [time] = [each.time for each in EVENT_TABLES if each.name == table]
    return {
        (str(pipeline), int(days))
        for pipeline, days in clickhouse.query(
            f"SELECT pipeline, dateDiff('day', toStartOfDay({time}), toStartOfDay(now('UTC'))) FROM {table}"
        )
    }


def rules(default: int | None = None, **days: int | None) -> RetentionRules:
    return RetentionRules(
        RetentionRule(DEFAULT, default, own=True),
        {name: RetentionRule(name, each, own=True) for name, each in days.items()},
    )


def test_what_is_too_old_goes_from_every_table_by_its_pipelines_rule_or_the_default(
    store: ClickHouse,
) -> None:
    """A day that is exactly so many days ago stays; of verdicts the latest of a step stays."""
    filled(store, ("p", 400), ("q", 400), ("p", 91), ("q", 91), ("p", 90), ("q", 90), ("p", 1), ("q", 1))
    before = {table.name: ages(store, table.name) for table in EVENT_TABLES}
    wanted = rules(365, p=90)
    gone = {("p", 400), ("p", 91), ("q", 400)}
    told = {(each.table, each.pipeline): each.rows for each in expired(store, wanted)}
    assert {table for table, pipeline in told if pipeline == "p"} == {table.name for table in EVENT_TABLES}
    assert (told["steps", "p"], told["steps", "q"]) == (2, 1)
    removed = {each.table: each.rows for each in apply(store, wanted)}
    assert removed["steps"] == 3
    assert {table.name: ages(store, table.name) for table in EVENT_TABLES} == {
        name: found - gone for name, found in before.items()
    }
    assert expired(store, wanted) == []
    assert apply(store, wanted) == []


def test_shortening_removes_and_lengthening_keeps(store: ClickHouse) -> None:
    """A longer rule brings nothing back; a rule that is taken away leaves the default."""
    filled(store, ("p", 100), ("p", 50), ("p", 10))
    apply(store, rules(p=75))
    assert ages(store, "steps") == {("p", 50), ("p", 10)}
    apply(store, rules(p=365))
    assert ages(store, "steps") == {("p", 50), ("p", 10)}
    apply(store, rules(30))
    assert ages(store, "steps") == {("p", 10)}


def test_a_legal_hold_keeps_everything_and_an_endless_rule_too(store: ClickHouse) -> None:
    """Whatever the default says."""
    filled(store, ("held", 400), ("kept", 400), ("p", 400), ("p", 1))
    held = rules(30, kept=None).changed(RetentionRule("held", 10, own=True, held=True))
    apply(store, held)
    assert ages(store, "steps") == {("held", 400), ("kept", 400), ("p", 1)}
    apply(store, held.changed(RetentionRule("held", 10, own=True)))
    assert ages(store, "steps") == {("kept", 400), ("p", 1)}


def test_parts_in_which_everything_is_too_old_are_dropped_whole_and_others_written_anew(
    store: ClickHouse,
) -> None:
    """Two months of one pipeline go as parts; of a part that both share only the rows of one go."""
    filled(store, ("p", 400), ("p", 300))
    records = Records(store)
    records.forget_ledger()
    both = [event(S.SUCCESS, 0, pipeline=name, execution=70 + n) for n, name in enumerate("pq")]
    us = int(today(store).timestamp()) * 1_000_000 - 200 * DAY
    projection = records.projection(STEP_EVENTS)
    projection.open([0])
    projection.write(records.batch([(one, us) for one in both]))
    [removed] = [each for each in apply(store, rules(p=90)) if each.table == "steps"]
    assert (removed.rows, removed.dropped_rows, removed.dropped_parts) == (3, 2, 2)
    assert ages(store, "steps") == {("q", 200)}


def test_an_old_event_that_comes_late_goes_the_next_time(store: ClickHouse) -> None:
    """As after a consumer was far behind, or the topic was read anew; the ledger's high-water mark stays."""
    records = filled(store, ("p", 100), ("p", 1))
    apply(store, rules(p=30))
    marks = store.query(
        "SELECT projection_name, max(last_offset) FROM projection_ledger GROUP BY 1 ORDER BY 1"
    )
    records.project()
    assert ages(store, "steps") == {("p", 1)}, "what is gone is projected again"
    assert (
        store.query("SELECT projection_name, max(last_offset) FROM projection_ledger GROUP BY 1 ORDER BY 1")
        == marks
    )
    records.replay()
    assert ages(store, "steps") == {("p", 100), ("p", 1)}
    apply(store, rules(p=30))
    of_topics = [table.name for table in EVENT_TABLES if table.name != "health_verdicts"]
    assert {name: ages(store, name) for name in of_topics} == {name: {("p", 1)} for name in of_topics}


def test_an_event_with_an_old_time_is_kept_by_when_it_arrived_with_its_execution(store: ClickHouse) -> None:
    """A worker that sends what happened long ago, or whose clock is wrong."""
    now_us = int(today(store).timestamp()) * 1_000_000
    records = Records(store)
    records.events = [(event(S.SUCCESS, now_us - 400 * DAY - T0), now_us)]
    records.project()
    assert [each for each in expired(store, rules(30)) if each.table != "health_verdicts"] == []
    apply(store, rules(30))
    assert store.query("SELECT count() FROM steps") == [(1,)]
    assert store.query("SELECT count() FROM step_executions") == [(1,)]


def test_what_is_stored_of_each_pipeline_is_shown(store: ClickHouse) -> None:
    """Events, from when to when."""
    filled(store, ("p", 10), ("p", 1), ("q", 3))
    found = {each.pipeline: each for each in kept(store)}
    assert {name: each.events for name, each in found.items()} == {"p": 2, "q": 1}
    noon = datetime.combine(today(store).date(), datetime.min.time(), timezone.utc) + timedelta(hours=12)
    assert (found["p"].oldest_at, found["p"].newest_at) == (
        noon - timedelta(days=10),
        noon - timedelta(days=1),
    )


def test_the_latest_change_of_a_rule_holds(store: ClickHouse) -> None:
    """The default and each pipeline by itself."""
    assert retention_rules(store) == FOR_EVER
    write_rule(store, RetentionRule(DEFAULT, 365, own=True, changed_by="a"))
    write_rule(store, RetentionRule("p", 90, own=True, changed_by="b"))
    write_rule(store, RetentionRule("p", 30, own=True, changed_by="c", reason="less is needed"))
    found = retention_rules(store)
    assert (found.days("p"), found.days("q")) == (30, 365)
    assert (found.rule("p").changed_by, found.rule("p").reason) == ("c", "less is needed")
    write_rule(store, RetentionRule("p", None, own=False, held=True))
    assert retention_rules(store).days("p") is None
    write_rule(store, RetentionRule("p", None, own=False))
    assert retention_rules(store).days("p") == 365


def test_the_projectors_task_applies_the_rules_once_and_again_when_they_change(store: ClickHouse) -> None:
    """What a look did is not done again before the rules change."""
    records = filled(store, ("p", 100), ("p", 1))
    task = RetentionTask(store, threading.Event())
    task.look()
    assert ages(store, "steps") == {("p", 100), ("p", 1)}
    write_rule(store, RetentionRule("p", 30, own=True))
    task.look()
    assert ages(store, "steps") == {("p", 1)}
    records.replay()
    task.look()
    assert ages(store, "steps") == {("p", 100), ("p", 1)}
    write_rule(store, RetentionRule("p", 31, own=True))
    task.look()
    assert ages(store, "steps") == {("p", 1)}
