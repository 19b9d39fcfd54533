"""The protocol for replicas, in a model of them: nothing lost, nothing twice, and no safeguard superfluous."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from support.effort import effort
from support.replicas.world import Safeguards
from support.replicas.writing import history

HISTORIES = effort(600, 5_000)
MISSED_IN = {
    "guard": 0,
    "holds": 160,
    "barrier": 551,
    "wait": 4,
    "touch": 62,
    "sync": 99,
    "settle": 114,
    "quorum": 12,
}
"""By safeguard, the first of the histories in which its absence loses or doubles a record."""


@pytest.mark.timeout(1800)
def test_in_every_history_each_record_is_there_once() -> None:
    """Replicas lag, lose sessions, crash, die for good, are out of reach; quorums fail; projectors stall and die."""
    for seed in range(HISTORIES):
        outcome = history(seed, Safeguards())
        assert not outcome.lost, f"lost, history {seed}: {outcome.lost}"
        assert not outcome.double, f"twice, history {seed}: {outcome.double}"


@pytest.mark.parametrize("left_out", [each.name for each in fields(Safeguards)])
def test_no_safeguard_can_be_left_out(left_out: str) -> None:
    """Without it one of the same histories loses a record or writes one twice, which with it does not."""
    seed = MISSED_IN[left_out]
    assert seed < 600
    without = history(seed, replace(Safeguards(), **{left_out: False}))
    assert without.lost or without.double
    held = history(seed, Safeguards())
    assert not held.lost
    assert not held.double
