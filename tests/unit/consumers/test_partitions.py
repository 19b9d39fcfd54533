from __future__ import annotations

from steptrail.consumers.loop.partitions import Partitions, Phase
from steptrail.consumers.loop.positions import Start


def flowing(*offsets: int) -> Partitions:
    """Partitions 0, 1, …, each opened and read from its offset."""
    partitions = Partitions()
    partitions.assign(range(len(offsets)))
    partitions.opening()
    for number, offset in enumerate(offsets):
        partitions.opened(Start(number, offset, offset), None)
        partitions.placed(number)
    return partitions


def test_a_partition_is_read_once_it_was_opened_and_placed() -> None:
    """Waiting, opening, opened, flowing; nothing of it is taken in before."""
    partitions = Partitions()
    partitions.assign([3])
    assert partitions.in_phase(Phase.WAITING) == [3]
    assert list(partitions.opening()) == [3]
    assert partitions.opening() == {}
    partitions.opened(Start(3, 40, 40), None)
    assert partitions.to_place() == {3: 40}
    assert partitions.positions == {}
    partitions.placed(3)
    assert partitions.in_phase(Phase.FLOWING) == [3]
    assert partitions.positions == {3: 40}
    assert partitions.to_place() == {}


def test_an_answer_for_an_earlier_assignment_is_known_as_such() -> None:
    """A partition that was revoked and assigned again has another generation."""
    partitions = Partitions()
    partitions.assign([0])
    (generation,) = partitions.opening().values()
    partitions.forget([0])
    assert partitions.current(0, generation) is None
    partitions.assign([0])
    assert partitions.current(0, generation) is None
    assert partitions.current(0, partitions.held[0].generation) is partitions.held[0]
    assert partitions.generations([0, 7]) == {0: partitions.held[0].generation}


def test_a_partition_assigned_again_forgets_its_position() -> None:
    """What another member wrote meanwhile must not be taken in again."""
    partitions = flowing(40)
    partitions.assign([0])
    assert partitions.positions == {}
    assert partitions.held[0].written is None


def test_records_that_were_kept_are_written_before_reading_goes_on() -> None:
    """After a fault: writing starts where the buffer does, reading where the buffer ends."""
    partitions = flowing(40)
    partitions.positions[0] = 55
    partitions.suspend([0, 9])
    assert partitions.in_phase(Phase.WAITING) == [0]
    partitions.opening()
    partitions.opened(Start(0, 40, 40), buffered_from=40)
    assert partitions.held[0].written == 40
    assert partitions.to_place() == {0: 55}


def test_after_a_rewind_everything_unwritten_is_read_again() -> None:
    """Those that are read or about to be, from where they are written; the others wait as they did."""
    partitions = flowing(40, 70)
    partitions.positions.update({0: 55, 1: 90})
    partitions.held[0].written = 50
    partitions.suspend([1])
    partitions.rewind()
    assert partitions.positions == {}
    assert partitions.to_place() == {0: 50}
    assert partitions.in_phase(Phase.WAITING) == [1]


def test_only_what_was_written_here_is_committed() -> None:
    """Not where reading began, and nothing of partitions that are not held."""
    partitions = flowing(40, 70)
    partitions.held[1].written = 71
    assert partitions.uncommitted([0, 1, 2]) == {1: 71}


def test_where_writing_began_stays_through_a_second_opening() -> None:
    """What was written before the fault is still to be committed."""
    partitions = flowing(40)
    partitions.held[0].written = 60
    partitions.suspend([0])
    partitions.opening()
    partitions.opened(Start(0, 60, 60), None)
    assert partitions.uncommitted([0]) == {0: 60}
