"""The fault matrix injects into what the projector really does."""

from __future__ import annotations

import pytest

from faults.hooks import HookedClickHouse, Plan, hooked_consumer
from faults.rows.killed import STEPS
from steptrail.consumers.projector import run as projector
from steptrail.projections.clickhouse import shards
from steptrail.projections.clickhouse.client import connect
from steptrail.schemas.configuration.settings import Settings
from support.consumed import event_value
from support.projecting import Projected, produce, projecting
from support.waiting import until

EVENTS = 300
"""More than a batch of which each message is checked in Python, so that the store validates them."""


class Met(Plan):
    """A plan that notes the steps of which it is told."""

    def __init__(self) -> None:
        super().__init__([])
        self.steps: set[str] = set()

    def enter(self, step: str | None) -> float:
        """A step begins."""
        self.steps |= set() if step is None else {step}
        return super().enter(step)


def test_each_step_of_a_batch_is_met(workspace: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step at which a row of the matrix kills the projector is one that its statements and commits pass."""
    plan = Met()

    def hooked(target: object, **more: object) -> HookedClickHouse:
        return HookedClickHouse(target, plan=plan, **more)

    monkeypatch.setattr(shards, "ClickHouse", hooked)
    monkeypatch.setattr(projector, "Consumer", hooked_consumer(plan, self_assigned=False))
    produce(workspace, (event_value(doc_id=f"d{number}") for number in range(EVENTS)))
    with connect(workspace) as clickhouse, projecting(workspace):
        until(lambda: Projected(clickhouse).count() >= EVENTS, "projection")
        until(lambda: "commit" in plan.steps, "commit")
    assert {step for step, _ in STEPS} <= plan.steps
