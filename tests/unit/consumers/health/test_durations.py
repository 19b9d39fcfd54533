import numpy as np
import pytest

from steptrail.consumers.health.rules.alarm import NONE, WARNING
from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.columns import Floats
from steptrail.consumers.health.rules.kinds.durations import DurationPolicy, DurationRule
from steptrail.consumers.health.rules.sketch import BINS, BinnedDurations, Sketch, bin_of, upper_edge_ms


def binned(row: int, milliseconds: Floats) -> BinnedDurations:
    bins, counts = np.unique(bin_of(milliseconds), return_counts=True)
    return BinnedDurations(np.full(len(bins), row), bins, counts.astype(float))


def test_a_bin_holds_what_its_edges_say() -> None:
    """Up to and with its upper edge, at most 9.1 % above its lower one; the ends take what is beyond."""
    edges = upper_edge_ms(np.arange(BINS))
    assert (bin_of(edges * (1 - 1e-9)) == np.arange(BINS)).all()
    assert (bin_of(edges[:-1] * (1 + 1e-9)) == np.arange(1, BINS)).all()
    assert (edges[1:] / edges[:-1]).max() < 1.091
    assert list(bin_of(np.array([0.0, -3.0, 1e12]))) == [0, 0, BINS - 1]


def test_sketches_merge_by_adding_and_give_percentiles() -> None:
    """Within the width of a bin."""
    values = np.random.default_rng(1).lognormal(6, 1, 20_000)
    halves, learning = Sketch.of(2), np.array([True, True])
    halves.learn(binned(0, values[:7000]), learning)
    halves.learn(binned(1, values[7000:]), learning)
    whole = Sketch(halves.counts.sum(axis=0, keepdims=True))
    for share in (0.5, 0.95, 0.99):
        found = upper_edge_ms(whole.percentile_bin(share))[0]
        assert np.quantile(values, share) <= found <= np.quantile(values, share) * 1.1
    bins = whole.percentile_bin(0.95)
    above = binned(0, values).above(bins, whole.part_above(bins, 0.05))
    assert above[0] == pytest.approx(1000, rel=1e-4)


def run(
    rule: DurationRule, policy: DurationPolicy, medians: list[float], slots: int, first: int
) -> list[int]:
    rng = np.random.default_rng(first)
    levels = []
    for number in range(slots):
        parts = [binned(row, rng.lognormal(np.log(median), 0.6, 50)) for row, median in enumerate(medians)]
        both = BinnedDurations(
            np.concatenate([p.rows for p in parts]),
            np.concatenate([p.bins for p in parts]),
            np.concatenate([p.counts for p in parts]),
        )
        rule.fold(Block.counted(first + number, np.zeros(len(medians)), durations=both), policy)
        levels.append(int(rule.alarm.level.max()))
    return levels


def test_doubled_durations_are_a_warning_within_half_a_minute_and_end() -> None:
    """At ten a second; the learned percentile stays what it was meanwhile."""
    rule, policy = DurationRule.of(1), DurationPolicy()
    assert max(run(rule, policy, [300.0], 800, 1000)) == NONE
    before = int(rule.learned.p95_bin[0])
    slow = run(rule, policy, [600.0], 200, 2000)
    assert slow.index(WARNING) <= 6
    assert slow[-1] == WARNING
    assert rule.learned.p95_bin[0] == before
    assert run(rule, policy, [300.0], 60, 3000)[-1] == NONE


def test_nothing_is_judged_before_it_is_learned() -> None:
    """An hour, and 500 durations, unless the normal is pinned."""
    rule, policy = DurationRule.of(1), DurationPolicy()
    run(rule, policy, [300.0], 300, 1000)
    assert rule.normal_ms_of(0, 1299, policy) is None
    assert max(run(rule, policy, [900.0], 60, 1300)) == NONE
    assert run(DurationRule.of(1), DurationPolicy(normal_ms=900.0), [2000.0], 10, 1000)[-1] == WARNING


def test_steps_do_not_know_of_each_other() -> None:
    """The slow one alone is slow."""
    rule, policy = DurationRule.of(2), DurationPolicy()
    run(rule, policy, [300.0, 5.0], 800, 1000)
    run(rule, policy, [300.0, 15.0], 20, 2000)
    assert list(rule.alarm.level) == [NONE, WARNING]
