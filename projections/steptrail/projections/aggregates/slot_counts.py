"""What happened in each 5-second slot, counted from `health_events`: never added up, so a replay counts the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from steptrail.projections.clickhouse.client import ClickHouse

SLOT_MS: Final = 5000

_RANGE = (
    "broker_time >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') "
    "AND broker_time < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')"
)

# Bins of a duration: eight an octave, from 0.1 ms on.
_BIN = "toUInt8(greatest(0, least(239, ceil(log2(greatest(assumeNotNull(duration_ms), 0.1) / 0.1) * 8) - 1)))"

_EVENTS = f"""
SELECT
    intDiv(toUnixTimestamp64Milli(broker_time), {SLOT_MS}) AS slot, pipeline, step_name,
    count(),
    countIf(status = 'SUCCESS'), countIf(status = 'WARNING'), countIf(status IN ('ERROR', 'FAILED')),
    countIf(status = 'SKIPPED'),
    sumMapIf([{_BIN}], [toUInt64(1)], status IN ('SUCCESS', 'WARNING') AND duration_ms IS NOT NULL)
    {{measures}}
FROM health_events
WHERE {_RANGE}
GROUP BY slot, pipeline, step_name
"""

# An execution starts with its first event, PENDING apart, if that is RUNNING: with its later ones it does not again.
# What is queued is not counted before it runs: it may be run under another execution's id, and would count twice.
_STARTED = f"""
SELECT intDiv(toUnixTimestamp64Milli(first.4), {SLOT_MS}) AS slot, first.1, first.2, count()
FROM
(
    SELECT argMin((pipeline, step_name, status, broker_time), (broker_time, kafka_partition, kafka_offset)) AS first
    FROM health_events
    WHERE broker_time < fromUnixTimestamp64Milli({{to_ms:Int64}}, 'UTC')
        AND toUInt128(execution_id) IN
        (SELECT toUInt128(execution_id) FROM health_events WHERE {_RANGE} AND status = 'RUNNING')
        AND status != 'PENDING'
    GROUP BY toUInt128(execution_id)
)
WHERE first.3 = 'RUNNING' AND first.4 >= fromUnixTimestamp64Milli({{from_ms:Int64}}, 'UTC')
GROUP BY slot, first.1, first.2
"""

_ENDED = "status NOT IN ('PENDING', 'RUNNING')"


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound on `duration_ms` or on a metric, and on which side of it lies what is bad."""

    measure: str
    bound: float
    below: bool


@dataclass(slots=True)
class SlotCounts:
    """One step in one slot. `arrived` are events; the others executions, as the health rule counts them.

    `durations`: bin -> successful endings. `measured`: for each `Bound` that was asked for, endings that have the
    measure, and those beyond the bound.
    """

    slot: int
    pipeline: str
    step: str
    arrived: int
    succeeded: int
    warned: int
    failed: int
    skipped: int
    durations: Mapping[int, int]
    measured: Sequence[tuple[int, int]]
    started: int = 0


def slot_counts(
    clickhouse: ClickHouse, first_slot: int, end_slot: int, bounds: Sequence[Bound] = ()
) -> list[SlotCounts]:
    """Counts of the slots from `first_slot` up to and without `end_slot`, by slot and step where anything happened.

    Raises what ClickHouse raises.
    """
    parameters: dict[str, Any] = {"from_ms": first_slot * SLOT_MS, "to_ms": end_slot * SLOT_MS}
    measures = ""
    for number, bound in enumerate(bounds):
        parameters |= {f"measure_{number}": bound.measure, f"bound_{number}": bound.bound}
        measures += _measure(number, bound)
    found: dict[tuple[int, str, str], SlotCounts] = {}
    for slot, pipeline, step, arrived, good, warned, failed, skipped, (
        bins,
        counts,
    ), *rest in clickhouse.query(_EVENTS.replace("{measures}", measures), parameters):
        measured = tuple(zip(rest[0::2], rest[1::2], strict=True))
        durations = dict(zip(bins, counts, strict=True))
        found[slot, pipeline, step] = SlotCounts(
            slot, pipeline, step, arrived, good, warned, failed, skipped, durations, measured
        )
    for slot, pipeline, step, started in clickhouse.query(_STARTED, parameters):
        found[slot, pipeline, step].started = started
    return [found[key] for key in sorted(found)]


def events_in(clickhouse: ClickHouse, first_slot: int, end_slot: int) -> int:
    """How many events the slots from `first_slot` up to and without `end_slot` have."""
    parameters = {"from_ms": first_slot * SLOT_MS, "to_ms": end_slot * SLOT_MS}
    [(count,)] = clickhouse.query(f"SELECT count() FROM health_events WHERE {_RANGE}", parameters)
    return int(count)


def first_slot_with_events(clickhouse: ClickHouse) -> int | None:
    """The slot of the earliest event, None while there are none."""
    [(count, earliest_ms)] = clickhouse.query(
        "SELECT count(), toUnixTimestamp64Milli(min(broker_time)) FROM health_events"
    )
    return int(earliest_ms) // SLOT_MS if count else None


def _measure(number: int, bound: Bound) -> str:
    value = (
        "duration_ms"
        if bound.measure == "duration_ms"
        else f"JSONExtract(metrics, {{measure_{number}:String}}, 'Nullable(Float64)')"
    )
    beyond = f"{value} {'<' if bound.below else '>'} {{bound_{number}:Float64}}"
    return f", countIf({_ENDED} AND {value} IS NOT NULL), countIf({_ENDED} AND ifNull({beyond}, false))"
