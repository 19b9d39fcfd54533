"""Events that are known to be lost: counted anew each time, kept by slot as facts, so that judging again agrees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from steptrail.projections.clickhouse.client import ClickHouse

_TOTALS = """
SELECT pipeline, sum(dropped), sum(gaps), sum(letters)
FROM
(
    SELECT any(pipeline) AS pipeline, max(reported) AS dropped,
        greatest(0, sum(missing) - max(reported)) AS gaps, 0 AS letters
    FROM
    (
        -- What an emitter could not send for good. What the broker may have stored shows as a gap, if it did not.
        SELECT emitter_id, argMax(toString(pipeline), (broker_time, kafka_offset)) AS pipeline,
            argMax(dropped + failed - maybe_delivered, (broker_time, kafka_offset)) AS reported, toInt64(0) AS missing
        FROM emitter_reports
        WHERE broker_time < {until:DateTime64(3, 'UTC')}
        GROUP BY emitter_id
        UNION ALL
        SELECT emitter_id, toString(pipeline), toInt64(0), toInt64(events)
        FROM emitter_gaps
        WHERE before < {settled:DateTime64(3, 'UTC')}
    )
    GROUP BY emitter_id
    UNION ALL
    SELECT toString(pipeline), 0, 0, toInt64(uniqExact(topic, source_topic_id, source_partition, source_offset))
    FROM dead_letters
    WHERE broker_time < {until:DateTime64(3, 'UTC')}
    GROUP BY pipeline
)
GROUP BY pipeline
"""


@dataclass(frozen=True, slots=True)
class LossCounts:
    """So many events of a pipeline were dropped by emitters, are missing in their sequences, were no events."""

    dropped: int = 0
    gaps: int = 0
    dead_letters: int = 0


def loss_totals(clickhouse: ClickHouse, until: datetime, settled: datetime) -> dict[str, LossCounts]:
    """By pipeline, all that was said to be lost before `until`, and the gaps that were there before `settled`.

    A gap younger than that may still be on its way by another partition.
    """
    rows = clickhouse.query(_TOTALS, {"until": until, "settled": settled})
    return {
        pipeline: LossCounts(int(dropped), int(gaps), int(dead)) for pipeline, dropped, gaps, dead in rows
    }


def recorded_losses(clickhouse: ClickHouse) -> tuple[int | None, dict[str, LossCounts]]:
    """The latest slot that losses were recorded for, None before the first, and their sums by pipeline."""
    rows = clickhouse.query(
        "SELECT pipeline, max(slot), sum(dropped), sum(gaps), sum(dead_letters) "
        "FROM (SELECT DISTINCT slot, pipeline, dropped, gaps, dead_letters FROM health_losses) GROUP BY pipeline"
    )
    sums = {pipeline: LossCounts(int(d), int(g), int(n)) for pipeline, _, d, g, n in rows}
    return max((int(slot) for _, slot, *_ in rows), default=None), sums


def losses_by_slot(
    clickhouse: ClickHouse, first_slot: int, end_slot: int
) -> dict[int, dict[str, LossCounts]]:
    """What was recorded for the slots from `first_slot` up to and without `end_slot`, and counts."""
    found: dict[int, dict[str, LossCounts]] = {}
    for slot, pipeline, dropped, gaps, dead in clickhouse.query(
        "SELECT slot, pipeline, max(dropped), max(gaps), max(dead_letters) FROM health_losses "
        "WHERE counted AND slot >= {first:Int64} AND slot < {end:Int64} "
        "GROUP BY slot, pipeline ORDER BY slot, pipeline",
        {"first": first_slot, "end": end_slot},
    ):
        found.setdefault(int(slot), {})[pipeline] = LossCounts(int(dropped), int(gaps), int(dead))
    return found


def record_losses(
    clickhouse: ClickHouse,
    slot: int,
    losses: Mapping[str, LossCounts],
    *,
    after: int | None,
    counted: bool = True,
) -> None:
    """Record `losses` for `slot`, unless somebody else has recorded any since `after`, the latest slot then."""
    numbers = ", ".join(
        f"({n}, {loss.dropped}, {loss.gaps}, {loss.dead_letters})"
        for n, loss in enumerate(losses.values(), 1)
    )
    if numbers:
        clickhouse.command(
            "INSERT INTO health_losses (slot, pipeline, dropped, gaps, dead_letters, counted) "
            "SELECT {slot:Int64}, {pipelines:Array(String)}[t.1], t.2, t.3, t.4, {counted:Bool} "
            f"FROM (SELECT arrayJoin([{numbers}]) AS t) "
            "WHERE (SELECT if(count() = 0, NULL, max(slot)) FROM health_losses) "
            "IS NOT DISTINCT FROM {after:Nullable(Int64)}",
            {"slot": slot, "pipelines": list(losses), "counted": counted, "after": after},
        )
