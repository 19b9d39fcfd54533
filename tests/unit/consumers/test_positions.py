from __future__ import annotations

import pytest

from steptrail.consumers.loop.partitions import Partitions, Phase
from steptrail.consumers.loop.positions import Gap, LogShorterThanLedger, Start, start_of


def test_the_first_start_begins_with_the_earliest_record() -> None:
    """Nothing projected, nothing committed: the earliest there is, which is no gap."""
    assert start_of(0, 0, None, 0, 50) == Start(0, 0, 0)
    assert start_of(0, 0, None, 17, 50) == Start(0, 17, 0)


def test_a_restart_goes_on_after_the_ledger() -> None:
    """The ledger is ahead of the commit after a crash between the two."""
    assert start_of(3, 40, 30, 0, 50) == Start(3, 40, 40)
    assert start_of(3, 40, None, 0, 40) == Start(3, 40, 40)


def test_expired_records_are_a_gap() -> None:
    """Retention overtook the projector: say which offsets, never jump silently."""
    start = start_of(1, 40, 40, 60, 90)
    assert start.offset == 60
    assert start.gap == Gap(1, 40, 59, "expired before they were read")


def test_a_commit_beyond_the_ledger_is_a_gap() -> None:
    """Someone moved the group's offsets, or the store lost its tables."""
    start = start_of(1, 0, 25, 0, 90)
    assert start.offset == 25
    assert start.gap is not None
    assert (start.gap.first, start.gap.last) == (0, 24)


def test_a_log_that_ends_before_the_ledger_is_waited_for() -> None:
    """Reading on would take new records for ones that were projected."""
    with pytest.raises(LogShorterThanLedger, match="ends at offset 10"):
        start_of(1, 40, 40, 0, 10)


def flowing(*numbers: int) -> Partitions:
    partitions = Partitions()
    partitions.assign(numbers)
    for number in partitions.opening():
        partitions.opened(Start(number, 10, 10), None)
        partitions.placed(number)
    return partitions


def test_only_opened_partitions_take_records() -> None:
    """Before the sink has it, a partition has no position, so that its records are passed over."""
    partitions = Partitions()
    partitions.assign([0, 1])
    assert partitions.positions == {}
    assert partitions.opening() == {0: 1, 1: 1}
    assert partitions.opening() == {}
    partitions.opened(Start(0, 5, 5), None)
    assert partitions.to_place() == {0: 5}
    assert partitions.positions == {}
    partitions.placed(0)
    assert partitions.positions == {0: 5}
    assert partitions.in_phase(Phase.FLOWING) == [0]


def test_a_late_answer_for_an_earlier_assignment_is_known_as_such() -> None:
    """A partition that went and came back is another assignment."""
    partitions = Partitions()
    partitions.assign([0])
    generation = partitions.opening()[0]
    partitions.forget([0])
    partitions.assign([0])
    assert partitions.current(0, generation) is None


def test_a_rewind_reads_again_from_what_is_written() -> None:
    """And takes in nothing before it was placed there: what is still on its way would leave a hole."""
    partitions = flowing(0, 1)
    partitions.positions.update({0: 90, 1: 80})
    partitions.suspend([1])
    partitions.rewind()
    assert partitions.positions == {}
    assert partitions.to_place() == {0: 10}
    assert partitions.in_phase(Phase.WAITING) == [1]


def test_kept_records_are_not_read_again() -> None:
    """After a fault the position stays where it was when what is buffered is still what comes next."""
    partitions = flowing(0)
    partitions.positions[0] = 90
    partitions.suspend([0])
    partitions.opening()
    partitions.opened(Start(0, 10, 10), buffered_from=10)
    assert partitions.to_place() == {0: 90}
    assert partitions.held[0].written == 10


def test_only_what_was_written_is_committed() -> None:
    """A partition that was opened and given back leaves the group's offset alone."""
    partitions = flowing(0, 1)
    partitions.held[1].written = 12
    assert partitions.uncommitted([0, 1, 7]) == {1: 12}
