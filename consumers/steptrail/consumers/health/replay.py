"""A dry run of rules over the past: computes verdict changes without publishing them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from steptrail.consumers.health.rules.judge import Judge
from steptrail.consumers.health.rules.rules import Rules
from steptrail.consumers.health.rules.slots import SLOT_S
from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.consumers.health.rules.verdict import Verdict
from steptrail.consumers.health.slot_loader import chunk_end, fetch_slots
from steptrail.projections.aggregates.slot_counts import first_slot_with_events
from steptrail.projections.clickhouse.client import ClickHouse


@dataclass(frozen=True)
class Change:
    """A changed verdict about a step or a pipeline at the end of a slot."""

    verdict: Verdict
    before: HealthStatus | None


def replay(
    clickhouse: ClickHouse, rules: Rules, since: float, until: float, *, warm_up_s: float
) -> Iterator[Change]:
    """Yield the verdict changes of `rules` from `since` to `until` (seconds since the epoch).

    The rules learn from `warm_up_s` before `since`, or from the first event; snapshots are not used, so that the
    result depends only on the rules. Stalled executions are not detected.
    """
    first = first_slot_with_events(clickhouse)
    if first is None:
        return
    judge = Judge(rules)
    before: dict[tuple[str | None, str | None], HealthStatus] = {}
    number, end = max(first, int((since - warm_up_s) // SLOT_S)), int(until // SLOT_S)
    while number < end:
        upto = chunk_end(clickhouse, number, end)
        for slot in fetch_slots(clickhouse, rules, number, upto):
            for verdict in judge.fold(slot).verdicts:
                key = verdict.pipeline, verdict.step
                was = before.get(key)
                before[key] = verdict.status
                if verdict.at > since and verdict.status is not (was or HealthStatus.HEALTHY):
                    yield Change(verdict, was)
        number = upto
