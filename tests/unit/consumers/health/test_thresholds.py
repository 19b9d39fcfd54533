from steptrail.consumers.health.rules.alarm import CRITICAL, NONE, WARNING
from steptrail.consumers.health.rules.kinds.losses import LossPolicy, LossWindow
from steptrail.consumers.health.rules.kinds.thresholds import Threshold, ThresholdWindow
from steptrail.consumers.health.rules.slots import Losses, Measured
from steptrail.consumers.health.rules.status import HealthStatus


def test_a_threshold_speaks_while_enough_lie_beyond_it() -> None:
    """At least ten, a tenth of them beyond; and no more once the window has passed."""
    window = ThresholdWindow(Threshold("duration_ms", 5000.0))
    window.fold(100, Measured(9, 9))
    assert window.level() == NONE
    window.fold(101, Measured(31, 0))
    assert window.level() == WARNING
    assert window.sentence() == (
        "9 of the last 40 executions (22 %) had duration_ms above 5,000 in 300 s; allowed 10 %"
    )
    for slot in range(102, 170):
        window.fold(slot, Measured(1, 0))
        assert len(window.parts) <= 13
    assert window.seen().beyond == 0
    assert window.level() == NONE


def test_a_threshold_may_be_critical_and_below() -> None:
    """As the rules say."""
    threshold = Threshold("pages", 1.0, below=True, share=0.5, at_least=1, critical=True)
    window = ThresholdWindow(threshold)
    assert (threshold.beyond(0.5), threshold.beyond(1.0)) == (True, False)
    window.fold(7, Measured(2, 1))
    assert window.level() == CRITICAL
    assert "below 1" in window.sentence()


def test_losses_warn_then_make_unknown_and_are_forgotten() -> None:
    """One lost event is a WARNING; from 5 % on nothing is known."""
    window, policy = LossWindow(), LossPolicy()
    window.fold(100, Losses(arrived=1000), policy)
    assert window.status(policy) is None
    window.fold(101, Losses(dropped=1, dead_letters=1), policy)
    assert window.status(policy) is HealthStatus.WARNING
    assert (
        window.sentence()
        == "events are lost: 1 dropped by emitters, 1 dead letters (0.2 % of the recent ones)"
    )
    window.fold(102, Losses(gaps=100), policy)
    assert window.status(policy) is HealthStatus.UNKNOWN
    window.fold(102 + 1000, Losses(), policy)
    assert window.status(policy) is None
