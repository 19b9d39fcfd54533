from __future__ import annotations

from steptrail.producers.executions import OpenExecutions
from steptrail.schemas import ProcessingStatus, uuid7

PENDING, RUNNING, SUCCESS = ProcessingStatus.PENDING, ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS


def test_what_fell_out_of_the_map_stands_alone() -> None:
    """The map is bounded: an ending whose beginning was forgotten is an execution of its own."""
    executions = OpenExecutions(remembered=10)
    begun = [executions.assign(f"doc {n}", "s", RUNNING, uuid7()) for n in range(100)]
    assert len(executions) <= 20
    forgotten, attempt, duration = executions.assign("doc 0", "s", SUCCESS, uuid7())
    kept, _, measured = executions.assign("doc 99", "s", SUCCESS, uuid7())
    assert forgotten != begun[0][0]
    assert (attempt, duration) == (1, None)
    assert kept == begun[99][0]
    assert measured is not None


def test_what_is_used_is_remembered() -> None:
    """A step that is recorded again and again does not fall out, however many others come between."""
    executions = OpenExecutions(remembered=10)
    for n in range(200):
        executions.assign(f"doc {n}", "s", RUNNING, uuid7())
        _, attempt, _ = executions.assign("hot", "s", RUNNING, uuid7())
    assert attempt == 200


def test_given_ids_are_kept() -> None:
    """An execution and an attempt that the caller names are taken as they are, and followed."""
    executions = OpenExecutions()
    mine = uuid7()
    assert executions.assign("d", "s", RUNNING, uuid7(), execution_id=mine, attempt=7)[:2] == (mine, 7)
    assert executions.assign("d", "s", SUCCESS, uuid7())[:2] == (mine, 7)
    assert executions.assign("d", "s", RUNNING, uuid7())[1] == 8


def test_the_ending_of_another_run_leaves_the_open_one() -> None:
    """Ending a run by its id does not close a newer run of the same step."""
    executions = OpenExecutions()
    older, _, _ = executions.assign("d", "s", RUNNING, uuid7())
    newer, _, _ = executions.assign("d", "s", RUNNING, uuid7())
    assert executions.assign("d", "s", SUCCESS, uuid7(), execution_id=older)[0] == older
    assert executions.assign("d", "s", SUCCESS, uuid7())[0] == newer


def test_pending_opens_and_running_joins() -> None:
    """PENDING opens, RUNNING joins it, and PENDING again opens another."""
    executions = OpenExecutions()
    first = executions.assign("d", "s", PENDING, uuid7())
    assert executions.assign("d", "s", RUNNING, uuid7())[:2] == first[:2]
    second = executions.assign("d", "s", PENDING, uuid7())
    assert second[0] != first[0]
    assert second[1] == 2
    assert executions.assign("d", "s", SUCCESS, uuid7()) == (second[0], 2, None)  # never ran: no duration
