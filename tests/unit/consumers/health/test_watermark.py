import pytest

from steptrail.consumers.health.rules import Blindness, Sight, Watermark


def watermark(*partitions: int, listed: float = 1000.0) -> Watermark:
    mark = Watermark()
    mark.listed(listed, partitions)
    return mark


def idle(mark: Watermark, partition: int, sent_at: float, end: int = 10) -> bool:
    return mark.probed(partition, sent_at, committed_end=end, end=end, consumed=end)


def test_a_busy_and_an_idle_partition() -> None:
    """The one that is behind its end counts by what was applied, the idle one by when it was asked."""
    mark = watermark(0, 1)
    mark.applied(0, 99.5)
    assert mark.value is None
    assert idle(mark, 1, 100.0)
    assert mark.value == 97.5


def test_a_backlog_makes_everything_unknown() -> None:
    """One partition far behind holds the whole topic's watermark, whatever the others show."""
    mark, sight = watermark(0, 1), Sight()
    mark.applied(0, 40.0)
    mark.applied(1, 100.0)
    assert mark.value == 38.0
    sight.judge(101.0, mark.value)
    assert sight.blindness is not None


def test_a_partition_without_a_leader_stands_still() -> None:
    """No answer proves nothing: the watermark stays, and the verdict turns UNKNOWN after a minute."""
    mark, sight = watermark(0, 1), Sight()
    idle(mark, 0, 100.0)
    idle(mark, 1, 100.0)
    for now in range(100, 180):
        idle(mark, 0, float(now))
        assert not mark.probed(1, float(now), committed_end=None, end=None, consumed=10)
        assert mark.value == 98.0
        sight.judge(float(now), mark.value)
        assert (sight.blindness is not None) == (now > 158)


def test_an_open_transaction_is_not_idle() -> None:
    """A last stable offset behind the high watermark hides records that have their times already."""
    mark = watermark(0)
    assert not mark.probed(0, 100.0, committed_end=500, end=520, consumed=500)
    assert mark.value is None
    assert mark.probed(0, 101.0, committed_end=520, end=520, consumed=520)
    assert not mark.probed(0, 102.0, committed_end=525, end=525, consumed=520)
    assert mark.value == 99.0


def test_a_late_record_is_counted() -> None:
    """It does not move the watermark back."""
    mark = watermark(0)
    idle(mark, 0, 100.0)
    mark.applied(0, 97.0, late=1)
    mark.applied(0, 98.0)
    assert (mark.value, mark.late) == (98.0, 1)


def test_a_new_partition_holds_the_watermark() -> None:
    """Until something is known of it, nothing after the last listing without it is complete."""
    mark = watermark(0, listed=100.0)
    idle(mark, 0, 100.0)
    mark.listed(110.0, (0, 1))
    idle(mark, 0, 110.0)
    assert mark.value == 98.0
    idle(mark, 1, 105.0)
    assert mark.value == 103.0
    assert mark.behind() == {0: 108.0, 1: 103.0}


def test_no_further_than_the_last_listing() -> None:
    """There may be one more partition by now."""
    mark = watermark(0, listed=100.0)
    idle(mark, 0, 500.0)
    assert mark.value == 98.0


def test_a_listing_or_a_partition_is_never_forgotten() -> None:
    """Answers that arrive out of order change nothing."""
    mark = watermark(0, 1, listed=100.0)
    mark.listed(90.0, (0,))
    idle(mark, 0, 100.0)
    assert mark.value is None
    idle(mark, 1, 100.0)
    idle(mark, 1, 50.0)
    assert mark.value == 98.0


def test_blindness_has_hysteresis_and_is_handed_over_when_it_ends() -> None:
    """Blind after 60 s, seeing at 30 s again; blind from the start."""
    sight = Sight()
    assert sight.judge(100.0, None) is None
    assert sight.blindness == Blindness(100.0, None, None)
    assert sight.judge(130.0, 99.9) is None
    assert sight.judge(130.0, 100.0) == Blindness(100.0, 130.0, None)
    assert sight.blindness is None
    sight.judge(160.0, 100.0)
    assert sight.blindness is None
    sight.judge(160.1, 100.0)
    sight.judge(170.0, 130.0)
    ended = sight.judge(171.0, 141.0)
    assert ended == Blindness(160.1, 171.0, 100.0)
    assert ended.covers(165.0)
    assert not ended.covers(171.0)


@pytest.mark.parametrize("age", [0.0, 30.0])
def test_a_watermark_that_is_near_at_once_leaves_no_blindness(age: float) -> None:
    """A restart within a minute is not a stretch of blindness."""
    sight = Sight()
    assert sight.judge(100.0, 100.0 - age) is None
    assert sight.blindness is None
