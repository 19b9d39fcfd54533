from __future__ import annotations

from steptrail.producers.events.executions import OpenExecutions
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


def test_an_event_assigned_twice_is_assigned_once() -> None:
    """After an interruption an event gets what it had, also when other threads have filled the map meanwhile."""
    executions = OpenExecutions(remembered=1)
    executions.assign("d", "s", RUNNING, uuid7())
    ending = uuid7()
    had = executions.assign("d", "s", SUCCESS, ending)
    executions.assign("other", "s", RUNNING, uuid7())
    assert executions.assign_again("d", "s", SUCCESS, ending) == had
    assert executions.has_ended("d", "s", had[0])


def test_ids_and_names_do_not_run_into_each_other() -> None:
    """Steps whose document's id and name are the same letters in a row have executions of their own."""
    executions = OpenExecutions()
    one, _, _ = executions.assign("a b", "c", RUNNING, uuid7())
    executions.assign("a", "b c", RUNNING, uuid7())
    executions.assign("a bc", "", RUNNING, uuid7())
    assert executions.assign("a b", "c", SUCCESS, uuid7())[0] == one


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


def test_progress_is_of_the_run_that_is_on() -> None:
    """RUNNING with progress stays one execution and one attempt, measured from the first RUNNING."""
    executions = OpenExecutions()
    begun = executions.assign("d", "s", RUNNING, uuid7(), progress=True)
    first_ns = executions._last["d\0s"][3]
    for _ in range(3):
        assert executions.assign("d", "s", RUNNING, uuid7(), progress=True) == (*begun[:2], None)
    assert executions._last["d\0s"][3] == first_ns
    assert executions.assign("d", "s", SUCCESS, uuid7())[:2] == begun[:2]
    again = executions.assign("d", "s", RUNNING, uuid7(), progress=True)
    assert (again[0] != begun[0], again[1]) == (True, 2)


def test_running_again_of_the_same_run_is_measured_from_its_first() -> None:
    """Whoever names the run by its handle goes on with it; told times count like measured ones."""
    executions = OpenExecutions()
    mine = uuid7()
    for second in (1, 2, 3):
        executions.assign("d", "s", RUNNING, uuid7(), given_us=second * 1_000_000, execution_id=mine)
    ended = executions.assign("d", "s", SUCCESS, uuid7(), given_us=5_000_000)
    assert ended == (mine, 1, 4000.0)


def test_progress_of_a_run_that_began_elsewhere_has_no_duration() -> None:
    """Nobody here knows when it began, so nothing is measured."""
    executions = OpenExecutions()
    mine = uuid7()
    assert executions.assign("d", "s", RUNNING, uuid7(), execution_id=mine, attempt=2, progress=True)[:2] == (
        mine,
        2,
    )
    assert executions.assign("d", "s", SUCCESS, uuid7()) == (mine, 2, None)


def test_progress_of_another_run_leaves_the_open_one() -> None:
    """What is on here is what the next ending closes."""
    executions = OpenExecutions()
    here, _, _ = executions.assign("d", "s", RUNNING, uuid7())
    executions.assign("d", "s", RUNNING, uuid7(), execution_id=uuid7(), progress=True)
    assert executions.assign("d", "s", SUCCESS, uuid7())[0] == here


def test_late_progress_does_not_reopen_a_run() -> None:
    """RUNNING of a run that has ended belongs to it; the next ending without a name is another run."""
    executions = OpenExecutions()
    ended, _, _ = executions.assign("d", "s", RUNNING, uuid7())
    executions.assign("d", "s", SUCCESS, uuid7())
    assert executions.assign("d", "s", RUNNING, uuid7(), execution_id=ended)[0] == ended
    assert executions.assign("d", "s", SUCCESS, uuid7())[0] != ended
