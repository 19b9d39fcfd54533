import numpy as np
import pytest

from steptrail.consumers.health.rules.alarm import CRITICAL, NONE, WARNING
from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.kinds.errors import Baseline, ErrorPolicy, ErrorRule

POLICY = ErrorPolicy()


class OneStep:
    """One step's rule, fed with (failed, succeeded) a slot."""

    def __init__(self, policy: ErrorPolicy = POLICY) -> None:
        self.rule, self.policy, self.slot = ErrorRule.of(1), policy, 1000

    def feed(self, failed: float, succeeded: float, slots: int = 1, started: float | None = None) -> int:
        for _ in range(slots):
            begun = failed + succeeded if started is None else started
            all_begun, good, bad = (np.array([float(value)]) for value in (begun, succeeded, failed))
            self.rule.fold(Block.counted(self.slot, all_begun, good, bad), self.policy)
            self.slot += 1
        return self.level

    @property
    def level(self) -> int:
        return int(self.rule.alarm.level[0])


def test_the_baseline_begins_with_a_prior_and_stays_within_its_bounds() -> None:
    """p0 = clamp(1.1 (K + 10)/(N + 200), 2 %, 10 %), p1 = max(20 %, 3 p0)."""
    baseline = Baseline.of(3)
    baseline.failed[:] = 0, 0, 300
    baseline.ended[:] = 0, 10_000, 1000
    normal, tuned = baseline.shares(POLICY)
    assert normal == pytest.approx([0.055, 0.02, 0.10])
    assert tuned == pytest.approx([0.20, 0.20, 0.30])
    pinned, _ = baseline.shares(ErrorPolicy(normal=0.3))
    assert pinned == pytest.approx([0.3] * 3)


def test_the_baseline_forgets_half_in_a_day() -> None:
    """And what is not learned is not forgotten either."""
    baseline = Baseline.of(2)
    baseline.failed[:] = 100
    learning, nothing = np.array([True, False]), np.zeros(2)
    for _ in range(17_280):
        baseline.learn(nothing, nothing, learning, 86_400)
    assert baseline.failed == pytest.approx([50.0, 100.0])


def test_an_outage_is_found_in_three_slots_and_not_before() -> None:
    """However bad a single slot is."""
    step = OneStep()
    step.feed(0, 50, 100)
    assert step.feed(50, 0) == NONE
    assert step.feed(50, 0) == NONE
    assert step.feed(50, 0) == CRITICAL


def test_a_burst_within_two_slots_is_no_outage() -> None:
    """The score may not rise by more than 0.4 of its limit in a slot."""
    step = OneStep()
    step.feed(0, 5, 500)
    step.feed(50, 0, 2)
    assert step.feed(0, 5, 500) == NONE


def test_twenty_percent_is_a_warning() -> None:
    """CRITICAL is from one half on."""
    step = OneStep()
    step.feed(1, 99, 100)
    assert step.feed(20, 80, 10) == WARNING


def test_few_failures_need_ten_minutes() -> None:
    """Fewer than ten failures are believed when the evidence is long, and never fewer than five."""
    step = OneStep(ErrorPolicy(normal=0.02))
    levels = [step.feed(1, 0) or step.feed(0, 0, 17) for _ in range(9)]
    assert levels.index(CRITICAL) == 7
    assert step.slot - 1000 >= 120


def test_fast_failures_beside_slow_successes_are_no_outage() -> None:
    """Failures must be a share of what was started, too; once nothing else is started, they are one."""
    step = OneStep()
    assert step.feed(1, 0, 200, started=50) == NONE
    assert step.rule.cusum.score[0] > POLICY.limit
    step = OneStep()
    assert step.feed(5, 0, 20, started=10) == CRITICAL


def test_nothing_is_learned_while_the_alarm_lasts() -> None:
    """An outage must not become normal."""
    step = OneStep()
    step.feed(0, 50, 1000)
    step.feed(25, 25, 3)
    ended = step.rule.baseline.ended[0]
    assert step.feed(25, 25, 1000) == CRITICAL
    assert step.rule.baseline.ended[0] == ended


def test_recovery_takes_two_good_minutes() -> None:
    """And thirty executions; the score begins anew."""
    step = OneStep()
    step.feed(0, 50, 100)
    step.feed(25, 25, 10)
    assert step.feed(0, 50, 23) != NONE
    assert step.feed(0, 50, 2) == NONE
    assert step.rule.cusum.score[0] == 0


def test_recovery_waits_for_executions() -> None:
    """Two quiet minutes alone are no recovery."""
    step = OneStep()
    step.feed(0, 50, 100)
    step.feed(25, 25, 10)
    assert step.feed(0, 0, 1000) == CRITICAL
    assert step.feed(0, 5, 5) == CRITICAL
    assert step.feed(0, 5, 1) == NONE


def test_the_hold_doubles_when_it_comes_back_within_the_hour() -> None:
    """2, 4, 8 minutes, up to an hour; after a good hour it is two minutes again."""
    step = OneStep()
    step.feed(0, 50, 100)
    holds = []
    for _ in range(8):
        step.feed(25, 25, 10)
        holds.append(int(step.rule.alarm.hold[0]) * 5)
        while step.level:
            step.feed(0, 50)
    assert holds == [120, 240, 480, 960, 1920, 3600, 3600, 3600]
    step.feed(0, 50, 721)
    step.feed(25, 25, 10)
    assert step.rule.alarm.hold[0] * 5 == 120


def test_an_outage_that_grows_turns_critical_and_back() -> None:
    """The level follows what is recent, not all since the alarm began."""
    step = OneStep()
    step.feed(0, 50, 100)
    assert step.feed(12, 38, 200) == WARNING
    assert step.feed(50, 0, 20) == CRITICAL
    assert step.feed(12, 38, 20) == CRITICAL
    assert step.feed(12, 38, 30) == WARNING


def test_a_step_with_many_normal_failures_recovers_to_its_normal() -> None:
    """8 % is more than 5 %, and yet what it was before."""
    step = OneStep()
    step.feed(4, 46, 2000)
    assert step.feed(30, 20, 20) == CRITICAL
    assert step.feed(4, 46, 30) == NONE


def test_a_pinned_normal_is_not_learned() -> None:
    """What creeps in is seen against the pinned share."""
    learned, pinned = OneStep(), OneStep(ErrorPolicy(normal=0.01, bad=0.04))
    for percent in range(1, 10):
        learned.feed(percent / 2, 50 - percent / 2, 1000)
        pinned.feed(percent / 2, 50 - percent / 2, 1000)
    assert (learned.level, pinned.level) == (NONE, NONE)
    pinned = OneStep(ErrorPolicy(normal=0.01, bad=0.04, least_share=0.02))
    assert pinned.feed(4, 46, 20) == WARNING
