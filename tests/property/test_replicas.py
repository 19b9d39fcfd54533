"""The protocol for replicas, in a model of them: nothing lost, nothing twice, and no safeguard superfluous."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.effort import effort
from support.replicas.world import Safeguards
from support.replicas.writing import outcomes

HISTORIES = effort(400, 5_000)
WITHOUT = 3_000
"""Histories that are tried at most until one has a fault."""


def test_in_every_history_each_record_is_there_once() -> None:
    """Replicas lag, lose sessions, crash, die for good, are out of reach; quorums fail; projectors stall and die."""
    for seed, outcome in outcomes(Safeguards(), HISTORIES):
        assert not outcome.lost, f"lost, history {seed}: {outcome.lost}"
        assert not outcome.double, f"twice, history {seed}: {outcome.double}"


@pytest.mark.parametrize("left_out", list(Safeguards.__dataclass_fields__))
def test_no_safeguard_can_be_left_out(left_out: str) -> None:
    """Without it the same histories lose records or write them twice."""
    safeguards = replace(Safeguards(), **{left_out: False})
    assert any(outcome.lost or outcome.double for _, outcome in outcomes(safeguards, WITHOUT))
