from steptrail.consumers.health.rules import SlotBuffer, StepCounts, slot_of
from steptrail.consumers.health.rules.losses import Losses
from steptrail.consumers.health.rules.thresholds import Measured

KEY = ("p", "ocr")


def test_slots_are_closed_in_order_and_without_gaps() -> None:
    """Only those that end at or before the watermark; empty ones too, from the first with something in it on."""
    buffer = SlotBuffer()
    assert list(buffer.closed(1e9)) == []
    buffer.add(103, {KEY: StepCounts(started=1)})
    buffer.add(101, {KEY: StepCounts(started=2)})
    assert list(buffer.closed(None)) == []
    assert list(buffer.closed(509.9)) == []
    closed = list(buffer.closed(520.0))
    assert [(slot.number, [c.started for c in slot.steps.values()]) for slot in closed] == [
        (101, [2]),
        (102, []),
        (103, [1]),
    ]
    assert closed[0].ends_at == 510
    assert len(buffer) == 0


def test_parts_of_a_slot_are_merged() -> None:
    """From batches and partitions, whatever is in them."""
    buffer = SlotBuffer()
    bound = ("pages", 10.0, False)
    buffer.add(7, {KEY: StepCounts(1, 2, 3, 4, 5, {90: 1}, {bound: Measured(3, 1)})})
    buffer.add(7, {KEY: StepCounts(1, 2, 3, 4, 5, {90: 2, 91: 1}, {bound: Measured(4, 2)})})
    (slot,) = buffer.closed(40.0)
    counts = slot.steps[KEY]
    assert counts == StepCounts(2, 4, 6, 8, 10, {90: 3, 91: 1}, {bound: Measured(7, 3)})
    assert counts.events == 30


def test_what_is_too_late_is_counted_and_left_out() -> None:
    """A slot is handed out once."""
    buffer = SlotBuffer(next_slot=10)
    assert len(list(buffer.closed(60.0))) == 2
    buffer.add(11, {KEY: StepCounts(started=1, failed=2)})
    assert buffer.late == 3
    assert [len(slot.steps) for slot in buffer.closed(65.0)] == [0]


def test_losses_that_are_reported_late_count_in_the_next_slot() -> None:
    """An emitter reports what it dropped a while after; it is not forgotten for that."""
    buffer = SlotBuffer(next_slot=10)
    buffer.lose(3, {"p": Losses(dropped=2)})
    buffer.lose(10, {"p": Losses(arrived=5, dead_letters=1)})
    (slot,) = buffer.closed(55.0)
    assert slot.losses == {"p": Losses(arrived=5, dropped=2, dead_letters=1)}


def test_slot_of_a_time() -> None:
    """Slots begin at multiples of five seconds."""
    assert [slot_of(time) for time in (0.0, 4.999, 5.0, 1_700_000_003.0)] == [0, 0, 1, 340_000_000]
