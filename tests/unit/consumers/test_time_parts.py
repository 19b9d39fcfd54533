from __future__ import annotations

import pytest

from steptrail.consumers.loop.batching import BatchLimits
from steptrail.consumers.runtime.backoff import Backoff, BackoffPolicy
from steptrail.consumers.runtime.deadline import Deadline
from steptrail.schemas.configuration.settings import Settings


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_waits_that_share_a_deadline_never_take_longer_together() -> None:
    """What one wait used up is not there for the next."""
    clock = Clock()
    deadline = Deadline(10.0, clock)
    assert deadline.remaining() == 10.0
    clock.now += 7
    assert deadline.remaining() == 3.0
    assert deadline.share(0.5).remaining() == 1.5
    assert not deadline.expired
    clock.now += 5
    assert deadline.remaining() == 0.0
    assert deadline.expired


def test_delays_double_up_to_the_cap_and_stay_there_for_days() -> None:
    """Exponential, capped, without an overflow after thousands of failures."""
    backoff = Backoff(BackoffPolicy(first=0.2, cap=30.0), draw=lambda: 1.0)
    delays = [backoff.failed() for _ in range(10)]
    assert delays[:4] == pytest.approx([0.2, 0.4, 0.8, 1.6])
    assert delays[-1] == 30.0
    for _ in range(5000):
        assert backoff.failed() == 30.0


def test_delays_are_jittered_within_half() -> None:
    """Consumers that failed together come back apart: between half of the delay and all of it."""
    assert Backoff(BackoffPolicy(first=1.0), draw=lambda: 0.0).failed() == 0.5
    assert Backoff(BackoffPolicy(first=1.0), draw=lambda: 1.0).failed() == 1.0


def test_success_starts_from_the_first_delay_again() -> None:
    """A fault long ago does not slow down the reaction to a new one."""
    backoff = Backoff(BackoffPolicy(first=1.0), draw=lambda: 1.0)
    for _ in range(5):
        backoff.failed()
    backoff.succeeded()
    assert backoff.failed() == 1.0


LIMITS = BatchLimits(max_events=100, max_bytes=1000, max_age_s=0.5, linger_s=0.05)


@pytest.mark.parametrize(
    ("events", "size", "opened", "closed", "now", "due"),
    [
        pytest.param(0, 0, 10.0, 0.0, 99.0, False, id="an empty one never"),
        pytest.param(100, 5, 10.0, 10.0, 10.0, True, id="full of events"),
        pytest.param(3, 1000, 10.0, 10.0, 10.0, True, id="full of bytes"),
        pytest.param(3, 5, 10.0, 10.0, 10.49, False, id="steady traffic: young"),
        pytest.param(3, 5, 10.0, 10.0, 10.5, True, id="steady traffic: old enough"),
        pytest.param(3, 5, 10.0, 5.0, 10.04, False, id="after a pause: lingers"),
        pytest.param(3, 5, 10.0, 5.0, 10.06, True, id="after a pause: does not wait longer"),
    ],
)
def test_a_batch_closes_when_full_or_old(
    events: int, size: int, opened: float, closed: float, now: float, due: bool
) -> None:
    """Records, bytes or age, whichever comes first."""
    assert LIMITS.is_due(events, size, opened, closed, now) is due


@pytest.mark.parametrize(
    ("events", "now", "due"),
    [
        pytest.param(9, 10.04, False, id="few: lingers"),
        pytest.param(9, 10.05, True, id="few: does not wait longer"),
        pytest.param(10, 10.0, True, id="a backlog: at once"),
    ],
)
def test_the_first_batch_does_not_wait_to_be_full(events: int, now: float, due: bool) -> None:
    """With a backlog at the start, rows are there as soon as a few thousand events are read."""
    limits = BatchLimits(max_events=100, linger_s=0.05, first_events=10)
    assert limits.is_due(events, 1, 10.0, None, now) is due


def test_steady_traffic_makes_two_batches_a_second() -> None:
    """However small they are: the store pays for each batch."""
    closed, opened, batches = 0.0, None, 0
    for tick in range(10_000):  # ten seconds, a record each millisecond
        now = tick / 1000
        opened = now if opened is None else opened
        if LIMITS.is_due(1, 1, opened, closed, now):
            batches, closed, opened = batches + 1, now, None
    assert 18 <= batches <= 20


QUIET = BatchLimits(max_age_s=0.5, linger_s=0.05, quiet_age_s=1.0, quiet_events=10)


@pytest.mark.parametrize(
    ("events", "opened", "closed", "now", "due"),
    [
        pytest.param(9, 10.0, 10.0, 10.99, False, id="few: wait for more"),
        pytest.param(9, 10.0, 10.0, 11.0, True, id="few: old enough"),
        pytest.param(10, 10.0, 10.0, 10.5, True, id="enough: as ever"),
        pytest.param(1, 10.0, 5.0, 10.06, True, id="after a pause: does not wait"),
    ],
)
def test_few_events_wait_longer_for_each_other(
    events: int, opened: float, closed: float, now: float, due: bool
) -> None:
    """A batch of a few events costs the store as much as one of many."""
    assert QUIET.is_due(events, 1, opened, closed, now) is due


@pytest.mark.parametrize(("age", "quiet"), [(0.5, 2.0), (0.05, 0.2), (1.0, 2.0), (0.8, 2.0)])
def test_few_events_wait_four_times_as_long_at_most_two_seconds(age: float, quiet: float) -> None:
    """Who wants fresher reads has them at any rate."""
    limits = BatchLimits.of(Settings(batch_max_age_s=age))
    assert (limits.max_age_s, limits.quiet_age_s) == (age, quiet)


@pytest.mark.parametrize("age", [0.0, -1.0, 1.5])
def test_an_age_that_cannot_be_is_refused(age: float) -> None:
    """More than a second would break the promise of fresh reads."""
    with pytest.raises(ValueError, match="batch age"):
        BatchLimits(max_age_s=age)
