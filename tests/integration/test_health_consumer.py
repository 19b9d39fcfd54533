"""The health consumer on a real Kafka and the real engine."""

from __future__ import annotations

from steptrail.projections.clickhouse import connect
from steptrail.schemas.settings import Settings
from support.judging import (
    Traffic,
    comparable,
    health_consumers,
    judged_by_hand,
    last_slot,
    overall,
    said_twice,
    status_of,
    verdict_rows,
)
from support.projecting import until


def test_a_verdict_turns_on_real_errors(workspace: Settings) -> None:
    """HEALTHY, then CRITICAL with the evidence: on the topic, in the history, and by a replay the same."""
    with connect(workspace) as clickhouse, health_consumers(workspace) as [process]:
        with Traffic(workspace) as traffic:
            until(lambda: status_of(clickhouse) == "HEALTHY", "HEALTHY", 40)
            traffic.failing = 0.9
            until(lambda: status_of(clickhouse) == "CRITICAL", "CRITICAL", 60)
        told = until(lambda: overall(workspace), "a verdict on the topic")
        assert told["status"] == "CRITICAL"
        [finding] = told["findings"]
        assert finding["data"] == {"pipeline": "p", "step": None}
        assert "executions" in told["sentence"]
        slot = last_slot(clickhouse)
        assert slot is not None
        state = clickhouse.query(
            "SELECT pipeline, step_name, toString(status) FROM health_state ORDER BY 1, 2"
        )
        assert state == [("", "", "CRITICAL"), ("p", "", "CRITICAL"), ("p", "parse", "CRITICAL")]
        assert comparable(verdict_rows(clickhouse), slot) == judged_by_hand(clickhouse, slot)
        assert said_twice(workspace) == []
        assert process.process.poll() is None
