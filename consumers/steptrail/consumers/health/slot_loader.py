"""Loads slots from ClickHouse's counts for the rules."""

from __future__ import annotations

from typing import Final

from steptrail.consumers.health.rules.kinds.thresholds import Threshold, ThresholdPolicy
from steptrail.consumers.health.rules.rules import Rules
from steptrail.consumers.health.rules.slots import Losses, Measured, Slot, StepCounts
from steptrail.projections.aggregates.slot_counts import Bound, events_in, slot_counts
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.reading.health_losses import losses_by_slot

NOBODY = "(unknown pipeline)"
"""What is lost without anyone knowing whose it was is held against this name."""


LONGEST_CHUNK: Final = 8640
MOST_EVENTS: Final = 500_000
"""So much is counted at once: what the store must hold in memory grows with it."""


def chunk_end(clickhouse: ClickHouse, first: int, end: int) -> int:
    """The end of the next chunk of slots to fetch from `first` on: at least one slot, at most up to `end`."""
    upto = min(end, first + LONGEST_CHUNK)
    while upto - first > 12 and events_in(clickhouse, first, upto) > MOST_EVENTS:
        upto = first + (upto - first) // 4
    return upto


def fetch_slots(clickhouse: ClickHouse, rules: Rules, first: int, end: int) -> list[Slot]:
    """Every slot from `first` to before `end`, including empty ones."""
    bounds = thresholds_of(rules)
    slots = {number: Slot(number) for number in range(first, end)}
    rows = slot_counts(clickhouse, first, end, [Bound(t.measure, t.bound, t.below) for t in bounds])
    arrived: dict[tuple[int, str], int] = {}
    for row in rows:
        measured = {
            bound.key: Measured(count, beyond)
            for bound, (count, beyond) in zip(bounds, row.measured, strict=True)
            if count
        }
        slots[row.slot].steps[row.pipeline, row.step] = StepCounts(
            row.started, row.succeeded, row.warned, row.failed, row.skipped, dict(row.durations), measured
        )
        arrived[row.slot, row.pipeline] = arrived.get((row.slot, row.pipeline), 0) + row.arrived
    for (number, pipeline), count in arrived.items():
        slots[number].losses[pipeline] = Losses(count)
    for number, lost in losses_by_slot(clickhouse, first, end).items():
        for pipeline, loss in lost.items():
            name = pipeline or NOBODY
            count = arrived.get((number, name), 0)
            slots[number].losses[name] = Losses(count, loss.dropped, loss.gaps, loss.dead_letters)
    return [slots[number] for number in range(first, end)]


def thresholds_of(rules: Rules) -> list[Threshold]:
    """The thresholds in the rules, each bound once."""
    found: dict[tuple[str, float, bool], Threshold] = {}
    for policy in rules.each(ThresholdPolicy):
        for threshold in policy.thresholds:
            found.setdefault(threshold.key, threshold)
    return list(found.values())
