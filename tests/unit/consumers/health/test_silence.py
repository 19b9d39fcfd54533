from collections.abc import Callable

import numpy as np
import pytest

from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.hours import WEEK_HOURS, Hours, quiet_code, quiet_slots
from steptrail.consumers.health.rules.kinds.silence import SilencePolicy, SilenceRule

MINUTE = 12
HOUR = 720
WEEK = WEEK_HOURS * HOUR
FIRST = 674 * WEEK


class OneStep:
    """One step's rule over whole weeks, given at which slots it is at work; then it shows life once a minute."""

    def __init__(self, busy: Callable[[int], bool], policy: SilencePolicy | None = None) -> None:
        self.rule, self.policy, self.busy, self.slot = (
            SilenceRule.of(1),
            policy or SilencePolicy(),
            busy,
            FIRST,
        )

    def run(self, slots: int, *, alive: bool = True) -> int | None:
        """The number of slots after which it was said to be silent first, None if it was not."""
        some, none = np.array([60.0]), np.zeros(1)
        until, begin, found = self.slot + slots, self.slot, None
        while self.slot < until:
            events = some if alive and self.busy(self.slot) else none
            self.rule.fold(Block.counted(self.slot, events), self.policy)
            if found is None and self.rule.silent()[0]:
                found = self.slot - begin
            self.slot += MINUTE if alive else 1  # nothing happens in between, save that it may become silent
        return found


def test_a_pause_in_a_byte_is_rounded_up_by_six_percent_at_most() -> None:
    """From one slot to four weeks; 0 stays "nothing was noted"."""
    slots = np.unique(np.geomspace(1, 28 * 17_280, 500).astype(np.int64))
    back = quiet_slots(quiet_code(slots))
    assert (back >= slots * (1 - 1e-9)).all()
    assert (back <= slots * 1.06).all()
    assert quiet_slots(np.zeros(1, np.uint8)) == 0


def test_the_usual_quiet_leaves_the_worst_of_four_weeks_out() -> None:
    """Around the hour; with two or three weeks it is the worst, with one nothing is known."""
    hours, known = Hours.of(1), np.ones(1, np.bool_)
    usual = []
    for week, quiet in enumerate((10, 500, 20, 30)):
        hours.note(50 + week * WEEK_HOURS, np.array([quiet]), np.array([7200.0]), known)
        usual.append(hours.usual_quiet(49 + (week + 1) * WEEK_HOURS)[0])
    assert usual == pytest.approx([0, 500, 500, 30], rel=0.06)
    assert hours.usual_quiet(52)[0] == 0


def test_a_steady_step_that_stops_is_silent_after_four_of_its_pauses() -> None:
    """Not before it was seen for two weeks; and until the next sign of life."""
    step = OneStep(lambda _: True)
    step.run(WEEK)
    assert step.run(2 * HOUR, alive=False) is None
    step.run(WEEK + 20 * HOUR)
    found = step.run(3 * HOUR, alive=False)
    assert found is not None
    assert 3 * MINUTE <= found <= 4 * MINUTE
    assert step.run(MINUTE) is None


def test_nights_and_weekends_are_not_silence() -> None:
    """A step that works from 8 to 18 on five days; a morning on which it does not is noticed at ten."""

    def office(slot: int) -> bool:
        day, hour = slot // (24 * HOUR) % 7, slot // HOUR % 24
        return day < 5 and 8 <= hour < 18

    step = OneStep(office)
    assert step.run(3 * WEEK) is None
    found = step.run(24 * HOUR, alive=False)
    assert found is not None
    assert abs(found - 10 * HOUR) <= MINUTE
    step.run(24 * HOUR)
    assert not step.rule.silent()[0]


def test_a_nightly_step_that_fails_to_come_is_noticed_in_the_morning() -> None:
    """By the longest pause: 1.25 times that and an hour."""
    step = OneStep(lambda slot: slot // HOUR % 24 == 2)
    assert step.run(2 * WEEK + 3 * HOUR) is None
    found = step.run(48 * HOUR, alive=False)
    assert found is not None
    assert 24 * HOUR < found <= 31 * HOUR


def test_a_quiet_that_is_given_needs_no_history() -> None:
    """`after_s` counts from the first sign of life on."""
    step = OneStep(lambda _: True, SilencePolicy(after_s=300))
    step.run(MINUTE)
    assert step.run(100, alive=False) == 60 - MINUTE
    never = OneStep(lambda _: False, SilencePolicy(after_s=300))
    assert never.run(2 * HOUR) is None
