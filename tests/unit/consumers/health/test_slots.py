from steptrail.consumers.health.rules import Slot, StepCounts, slot_of
from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.slots import Measured


def test_slot_of_a_time() -> None:
    """Slots begin at multiples of five seconds."""
    assert [slot_of(time) for time in (0.0, 4.999, 5.0, 1_700_000_003.0)] == [0, 0, 1, 340_000_000]


def test_a_block_has_every_count_of_a_slot_in_the_row_of_its_step() -> None:
    """Warned executions succeeded, too; a step without a row is left out."""
    measured = {("pages", 10.0, False): Measured(3, 1)}
    steps = {("p", "ocr"): StepCounts(1, 2, 3, 4, 5, {90: 6}, measured), ("p", "new"): StepCounts(9)}
    block = Block.of(Slot(7, steps), {("p", "parse"): 0, ("p", "ocr"): 1})
    counts = (block.started, block.succeeded, block.warned, block.failed, block.skipped, block.events)
    assert [list(each) for each in counts] == [[0, n] for n in (1, 5, 3, 4, 5, 15)]
    assert [list(each) for each in (block.durations.rows, block.durations.bins)] == [[1], [90]]
    assert block.measured == {1: measured}
