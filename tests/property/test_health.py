"""Health is a function of the slots: not of the pace, of neighbours, or of restarts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from steptrail.consumers.health.rules import Judge, Rules, Slot, State, StepCounts, StepKey
from steptrail.consumers.health.rules.block import Block
from steptrail.consumers.health.rules.kinds.errors import ErrorPolicy, ErrorRule
from steptrail.consumers.health.rules.parameters import stacked
from steptrail.consumers.health.rules.slots import Losses, Measured
from support.effort import effort
from support.watermark_world import WatermarkWorld

FIRST = 340_000_000
RULES = """
[defaults]
durations.learn_s = 60
durations.least_learned = 50
[[rule]]
step = "b"
silence.after_s = 120
errors.limit = 9
[[rule.threshold]]
measure = "pages"
above = 3
at_least = 2
"""
STEPS: list[StepKey] = [("p", "a"), ("p", "b"), ("q", "a")]

counted = st.builds(
    lambda ok, failed, bin_, pages: StepCounts(
        started=ok + failed,
        succeeded=ok,
        failed=failed,
        durations={bin_: ok} if ok else {},
        measured={("pages", 3.0, False): Measured(ok, min(ok, pages))},
    ),
    st.integers(0, 40),
    st.sampled_from([0, 0, 0, 1, 20, 60]),
    st.integers(80, 120),
    st.integers(0, 40),
)
stretches = st.lists(
    st.tuples(st.integers(1, 40), st.dictionaries(st.sampled_from(STEPS), counted), st.integers(0, 3)),
    min_size=1,
    max_size=12,
)


def history(stretches: list[tuple[int, dict[StepKey, StepCounts], int]]) -> list[Slot]:
    parts = ((steps, dropped) for slots, steps, dropped in stretches for _ in range(slots))
    return [
        Slot(FIRST + number, dict(steps), {"p": Losses(arrived=50, dropped=dropped)} if dropped else {})
        for number, (steps, dropped) in enumerate(parts)
    ]


@pytest.mark.thorough
@settings(
    max_examples=effort(8, 40),
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(stretches, st.data())
def test_a_restored_state_says_the_same(
    drawn: list[tuple[int, dict[StepKey, StepCounts], int]], data: st.DataObject
) -> None:
    """Killed and restored from a snapshot at any slots, the verdicts and the final state are equal to the bit."""
    slots = history(drawn)
    cuts = data.draw(st.sets(st.integers(0, len(slots)), max_size=3))
    rules = Rules.parse(RULES)
    whole, broken = Judge(rules), Judge(rules)
    for number, slot in enumerate(slots):
        if number in cuts:
            broken = Judge(rules, State.from_bytes(broken.state.to_bytes()))
        assert whole.fold(slot) == broken.fold(slot)
    assert whole.verdicts() == broken.verdicts()
    assert whole.deadlines() == broken.deadlines()
    assert whole.state.to_bytes() == broken.state.to_bytes()


def test_a_step_is_judged_alone() -> None:
    """A step among a hundred, with a policy of its own, goes through the same states as if there were no others."""
    rng = np.random.default_rng(1)
    policies = [ErrorPolicy(limit=9.0 + row % 3, recovery_s=60 + row % 2) for row in range(100)]
    together, policy = ErrorRule.of(100), stacked(policies)
    alone = {row: ErrorRule.of(1) for row in (0, 17, 99)}
    for slot in range(FIRST, FIRST + 600):
        share = rng.choice([0.01, 0.01, 0.01, 0.3, 0.9])
        ok, failed = (
            rng.poisson(20 * (1 - share), 100).astype(float),
            rng.poisson(20 * share, 100).astype(float),
        )
        together.fold(Block.counted(slot, ok + failed, ok, failed), policy)
        for row, rule in alone.items():
            mine = slice(row, row + 1)
            block = Block.counted(slot, (ok + failed)[mine], ok[mine], failed[mine])
            rule.fold(block, policies[row])
    assert together.alarm.since.any()
    for row, rule in alone.items():
        for (name, many), (_, one) in zip(together.columns(), rule.columns(), strict=True):
            for (column, values), (_, value) in zip(many.arrays(), one.arrays(), strict=True):
                assert np.array_equal(values[row : row + 1], value), (row, name, column)


@pytest.mark.parametrize("seed", range(20))
def test_no_slot_is_folded_before_it_is_complete(seed: int) -> None:
    """Partitions that lag, rest, lose their leader, hold transactions open, or are new; brokers that go away."""
    world = WatermarkWorld(seed)
    world.run(300)
    assert world.incomplete == 0
    assert world.healthy_while_behind == 0
    assert world.sight.blindness is not None or world.folded > 0


def test_the_worlds_would_find_a_watermark_that_is_too_bold() -> None:
    """A maximum over partitions folds incomplete slots in most of them."""
    worlds = [WatermarkWorld(seed) for seed in range(10)]
    for world in worlds:
        world.run(300)
    assert sum(world.greedy_incomplete > 0 for world in worlds) >= 5
    assert sum(world.folded for world in worlds) > 200
