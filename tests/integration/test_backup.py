"""`steptrail backup` and `steptrail restore` on a real Kafka and a real engine."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.lifecycle.backups import is_catching_up
from steptrail.schemas.status import ProcessingStatus
from support.backing_up import Destroyable, ok, world
from support.command_line import Command, command_line
from support.consumed import event_value
from support.judging import health_consumers, said_twice
from support.projecting import Projected, produce, projectors
from support.rebuilding import load, require_exact
from support.waiting import until

__all__ = ["world"]


@pytest.fixture
def command(
    world: Destroyable, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    return command_line(world.settings, monkeypatch, capfd)


def keep_doubles(store: ClickHouse) -> None:
    """Have no merge take away a row that is there twice."""
    for table in ("steps", "step_executions", "health_events"):
        store.command(
            f"ALTER TABLE {table} MODIFY SETTING max_bytes_to_merge_at_max_space_in_pool = 1, "
            "max_bytes_to_merge_at_min_space_in_pool = 1"
        )


def counted(store: ClickHouse) -> int:
    """Events that minutes have counted."""
    return int(store.query("SELECT sum(events) FROM step_minutes")[0][0])


def all_in_ledger(store: ClickHouse, offsets: int) -> None:
    """Wait until every table of the projector has so many offsets: executions are written beside events."""
    until(
        lambda: sum(last + 1 for last in Projected(store).high_water().values()) >= offsets,
        "offsets in the ledger",
    )


def test_backed_up_under_load_destroyed_and_restored_nothing_is_lost_or_doubled(
    world: Destroyable, command: Command
) -> None:
    """Events, executions, minutes, error groups and dead letters are as before, and no verdict is published again."""
    settings, store = world.settings, world.store
    keep_doubles(store)
    errors = (
        event_value(doc_id=f"e-{n}", status=ProcessingStatus.ERROR, error_message=f"field {n % 7}")
        for n in range(600)
    )
    sent = set(produce(settings, errors))
    junk = produce(settings, [b"junk %d" % n for n in range(30)])
    with ExitStack() as running:
        running.enter_context(projectors(settings))
        running.enter_context(health_consumers(settings))
        with load(settings) as more:
            until(lambda: counted(store) > 600, "counted minutes")
            made = ok(command, "backup", "--to", "under-load")
            high = Projected(store).high_water()
            until(
                lambda: all(Projected(store).high_water()[p] > offset + 20 for p, offset in high.items()),
                "events after the backup",
            )
            later = produce(settings, [b"later junk %d" % n for n in range(6)])
        sent |= set(more)
        all_in_ledger(store, len(sent) + len(junk) + len(later))
        require_exact(store, sent)
        until(lambda: counted(store) >= len(sent), "counted minutes of all events")
        letters = "SELECT uniqExact(source_partition, source_offset) FROM dead_letters"
        until(lambda: store.query(letters) == [(len(junk) + len(later),)], "dead letters")
    before = world.held()
    assert made["tables"]["steps"] > 0

    world.destroy()
    told = ok(command, "restore", "under-load")
    assert (told["dry_run"], told["in_the_way"]) == (True, {})
    assert sum(each["gone"] for each in told["catch_up"]) == 0
    assert all(each["left"] > 20 for each in told["catch_up"] if each["projection"] == "steps")
    ok(command, "restore", "under-load", "--yes")
    assert Projected(store).count() < len(sent)
    assert is_catching_up(store)
    with projectors(settings), health_consumers(settings):
        all_in_ledger(store, len(sent) + len(junk) + len(later))
        require_exact(store, sent)
        until(lambda: counted(store) >= len(sent), "counted minutes of all events")
        until(lambda: store.query(letters) == [(len(junk) + len(later),)], "dead letters")
        until(lambda: not is_catching_up(store), "counts of everything that the topic had")
    after = world.held()
    for name, rows in before.items():
        assert after[name] == rows, name
    assert Projected(store).ledger_holes() == []
    assert said_twice(settings) == []
