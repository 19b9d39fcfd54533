"""Rebuilds without services: what may follow on what, and when a fill is complete."""

from __future__ import annotations

import threading
import uuid

import pytest

from steptrail.consumers.rebuild.fill import _Progress
from steptrail.consumers.rebuild.rebuilding import RebuildRefused, may_exchange
from steptrail.consumers.runtime.status import Status
from steptrail.projections.lifecycle.rebuilds import Rebuild, RebuildState
from steptrail.projections.lifecycle.shadow_tables import Side, shadow_event_tables, shadow_spec
from steptrail.projections.tables.step_events import STEP_EVENTS

REBUILD = Rebuild(uuid.UUID("018f2c3e-7d1b-7c3a-9b1e-2f6d8c4a1b00"), "steps", "id", "me")
ALLOWED = {
    Side.NEW: {RebuildState.FILLED, RebuildState.RETURNED, RebuildState.EXCHANGING},
    Side.OLD: {RebuildState.EXCHANGED, RebuildState.RETURNING},
}


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("state", [state for state in RebuildState if state is not RebuildState.DROPPED])
def test_each_state_allows_an_exchange_or_says_what_to_do_instead(state: RebuildState, side: Side) -> None:
    """The hint names a command that is possible then."""
    rebuild = REBUILD.now(state)
    if state in ALLOWED[side]:
        assert may_exchange(rebuild, side) is rebuild
        return
    with pytest.raises(RebuildRefused) as refused:
        may_exchange(rebuild, side)
    assert "`steptrail rebuild" in refused.value.hint


def test_without_a_rebuild_nothing_can_be_exchanged() -> None:
    """It says how to begin one."""
    for side in Side:
        with pytest.raises(RebuildRefused, match="no rebuild"):
            may_exchange(None, side)


def progress(targets: dict[int, int], stop: threading.Event | None = None) -> _Progress:
    return _Progress(targets, stop or threading.Event(), Status(), lambda _: None)


def test_a_fill_is_complete_when_every_partition_is_written_up_to_its_target() -> None:
    """Also of an empty topic not before its partitions are opened: there may be rows to copy."""
    of_empty = progress({0: 0})
    of_empty.stands_at({})
    assert not of_empty.over.is_set()
    of_empty.stands_at({0: 0})
    assert of_empty.complete
    one = progress({0: 10, 1: 5})
    one.stands_at({0: 10, 1: 4})
    assert not one.over.is_set()
    one.stands_at({0: 10, 1: 5})
    assert one.complete


def test_markers_of_transactions_at_the_end_count_as_read_once_all_before_is_written() -> None:
    """Nobody is given them, so that nothing is ever written at the last offset."""
    one = progress({0: 10})
    one.reached_end(0, 9, 10)
    one.stands_at({0: 8})
    assert not one.over.is_set()
    one.stands_at({0: 9})
    assert one.complete


def test_a_fill_that_is_stopped_is_over_and_not_complete() -> None:
    """It goes on with the next start."""
    stop = threading.Event()
    one = progress({0: 10}, stop)
    stop.set()
    one.stands_at({0: 3})
    assert one.over.is_set()
    assert not one.complete


def test_the_projection_of_a_rebuild_differs_in_its_name_and_tables_alone() -> None:
    """Columns, checks and conditions are those of the live one; of some pipelines there is one condition more."""
    made = shadow_spec(Side.NEW, REBUILD)
    assert made.name == "rebuild_018f2c3e"
    assert (made.stage_columns, made.checks, made.size) == (
        STEP_EVENTS.stage_columns,
        STEP_EVENTS.checks,
        STEP_EVENTS.size,
    )
    for target, live in zip(made.targets, STEP_EVENTS.targets, strict=True):
        assert target.table == f"rebuild_018f2c3e_{live.table}"
        assert (target.columns, target.once_by, target.erasable, target.only) == (
            live.columns,
            live.once_by,
            live.erasable,
            "",
        )


def test_retention_of_executions_beside_the_live_ones_asks_the_events_beside_them() -> None:
    """Not the live ones."""
    [executions] = [
        table for table in shadow_event_tables(["before_018f2c3e_"]) if "executions" in table.name
    ]
    assert executions.stays is not None
    assert "FROM before_018f2c3e_steps WHERE" in executions.stays
