"""The offset of a clock is what reports allow, however late they come; a clock that is set is learned anew."""

from __future__ import annotations

import random

import pytest

from steptrail.producers.broker_clock import CORRECT_FROM_US, BrokerClock, ClockOffset

SECOND = 1_000_000_000


class World:
    """A broker, a worker whose clock is off by `off_ns` (ahead: positive), and messages between them."""

    def __init__(self, off_ns: int, seed: int = 1) -> None:
        self.now_ns = 1_750_000_000 * SECOND
        self.off_ns = off_ns
        self.chance = random.Random(seed)
        self.clock = BrokerClock(wall_ns=lambda: self.now_ns + self.off_ns, steady_ns=lambda: self.now_ns)

    def deliver(self, least_ms: float = 1.0, most_ms: float = 80.0) -> None:
        """A message: some time to the broker, some time back."""
        there, back = (int(self.chance.uniform(least_ms, most_ms) * 1e6) for _ in range(2))
        append_ms = (self.now_ns + there) // 1_000_000
        self.now_ns += there + back
        self.clock.take(append_ms, (there + back) / 1e9)


@pytest.mark.parametrize("seed", range(20))
def test_the_offset_lies_where_it_is_said_to(seed: int) -> None:
    """Of any clock and any latencies: the true offset is within what is known."""
    chance = random.Random(seed)
    off_ns = chance.choice([0, 1, -1]) * int(chance.lognormvariate(21, 2))
    world = World(off_ns, seed)
    for _ in range(50):
        world.deliver(*sorted((chance.uniform(0, 5), chance.uniform(5, 5000))))
        known = world.clock.known
        assert known is not None
        assert known.low_us - 1 <= -off_ns / 1000 <= known.high_us + 1


@pytest.mark.parametrize("seconds", [90, 0.9, -90, -3600 * 24 * 365])
def test_a_clock_that_is_off_is_corrected(seconds: float) -> None:
    """By the first report already; to within what the way to the broker allows."""
    world = World(-int(seconds * 1e9))
    assert world.clock.correction_us == 0
    world.deliver()
    assert world.clock.correction_us == pytest.approx(seconds * 1e6, abs=80_000)


@pytest.mark.parametrize("seconds", [0, 0.3, -0.3])
def test_a_clock_that_is_right_is_left_alone(seconds: float) -> None:
    """And so is one that is off by little, or by less than is known for sure."""
    world = World(-int(seconds * 1e9))
    for _ in range(20):
        world.deliver()
        assert world.clock.correction_us == 0
    slow = World(-2 * SECOND)
    slow.deliver(5_000, 10_000)  # seconds on the way: it may be right
    assert slow.clock.correction_us == 0


def test_the_correction_stays_while_it_agrees() -> None:
    """Times of one emitter do not jump about with every report."""
    world = World(-90 * SECOND)
    world.deliver()
    first = world.clock.correction_us
    for _ in range(2000):
        world.deliver()
        assert world.clock.correction_us == first


def test_a_clock_that_was_set_is_learned_anew() -> None:
    """At the next look nothing is corrected any more, whatever was known; the next report tells."""
    world = World(-90 * SECOND)
    world.deliver()
    world.off_ns = 0
    world.clock.look()
    assert (world.clock.known, world.clock.correction_us) == (None, 0)
    world.deliver()
    assert world.clock.correction_us == 0
    world.off_ns = -5 * SECOND
    world.deliver()  # a report that comes before any look
    assert world.clock.correction_us == pytest.approx(5_000_000, abs=80_000)


def test_the_brokers_clock_may_be_set() -> None:
    """What contradicts all that was known is believed at once."""
    world = World(0)
    world.deliver()
    world.clock.take((world.now_ns + 60 * SECOND) // 1_000_000, 0.01)
    assert world.clock.correction_us == pytest.approx(60_000_000, abs=20_000)


def test_what_is_long_past_is_forgotten() -> None:
    """A clock that drifts is followed: of the last two minutes only."""
    world = World(0)
    for minute in range(20):
        world.off_ns = -minute * SECOND // 20
        world.clock._base_ns = world.off_ns  # as a slew looks: too slow to be a step
        for _ in range(10):
            world.deliver()
        world.now_ns += 60 * SECOND
        assert world.clock.known is not None
        assert abs(world.clock.known.offset_us + world.off_ns // 1000) < 150_000
    assert world.clock.correction_us > CORRECT_FROM_US


def test_offsets_meet() -> None:
    """Two that agree are narrower than each; two that do not are none."""
    assert ClockOffset(0, 10).meet(ClockOffset(5, 20)) == ClockOffset(5, 10)
    assert ClockOffset(0, 10).meet(ClockOffset(11, 20)) is None
    assert ClockOffset(-10, 20).offset_us == 5
    assert ClockOffset(-10, 20).uncertainty_us == 15
