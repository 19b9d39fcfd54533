"""How each step fared in each minute: counted from `health_events` into `step_minute_rows` and `step_metric_rows`.

A count of a minute depends on the minute's events alone, not on their order: sums are taken over integers (2^-60 of
the unit), because the last digits of a sum of floats depend on who was added first, and the sketch of durations only
counts. So the same events give the same rows, however often and in whatever pieces they were read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from steptrail.projections.clickhouse.running import writer_comment

if TYPE_CHECKING:
    from steptrail.projections.clickhouse.client import ClickHouse


METRICS_OF_A_STEP: Final = 200
"""Metrics of a step that are kept for a minute, the first by name: a name made up for each event fills no table."""

# What lies further out would not fit 256 bits in the end.
_SUM: Final = (
    "toFloat64(sumIf(toInt256(least(greatest(assumeNotNull({0}), -1e40), 1e40) * pow(2, 60)), isNotNull({0})))"
    " / pow(2, 60)"
)

# What takes more than this goes to disk.
SPILL: Final[Mapping[str, Any]] = {
    "max_bytes_before_external_group_by": 150_000_000,
    "max_bytes_before_external_sort": 150_000_000,
    "max_partitions_per_insert_block": 0,
}

_COUNT_STEPS: Final = f"""
INSERT INTO step_minute_rows
    (minute, pipeline, step_name, events, pending, running, success, warning, error, failed, skipped,
     timed, duration_sum, duration_min, duration_max, durations, version)
SELECT toStartOfMinute(broker_time) AS minute_of, pipeline, step_name, count(),
    countIf(status = 'PENDING'), countIf(status = 'RUNNING'), countIf(status = 'SUCCESS'),
    countIf(status = 'WARNING'), countIf(status = 'ERROR'), countIf(status = 'FAILED'), countIf(status = 'SKIPPED'),
    count(duration_ms), {_SUM.format("duration_ms")}, min(duration_ms), max(duration_ms),
    quantilesDDState(0.01, 0.5, 0.95, 0.99)(duration_ms), {{version:UInt64}}
FROM health_events
WHERE {{times}}
GROUP BY minute_of, pipeline, step_name
"""

# Only what JSON calls a number: not "12", not true. 1e999 is one to JSON, and none to a computer.
_COUNT_METRICS: Final = f"""
INSERT INTO step_metric_rows (minute, pipeline, step_name, metric, values, sum, min, max, version)
SELECT toStartOfMinute(broker_time) AS minute_of, pipeline, step_name, pair.1 AS metric_name, count(),
    {_SUM.format("number")}, min(assumeNotNull(number)), max(assumeNotNull(number)),
    {{version:UInt64}}
FROM
(
    SELECT broker_time, pipeline, step_name, arrayJoin(JSONExtractKeysAndValuesRaw(metrics)) AS pair,
        toFloat64OrNull(pair.2) AS number
    FROM health_events
    WHERE metrics != '{{{{}}}}' AND ({{times}})
)
WHERE isNotNull(number) AND isFinite(number)
GROUP BY minute_of, pipeline, step_name, metric_name
ORDER BY minute_of, pipeline, step_name, metric_name
LIMIT {METRICS_OF_A_STEP} BY minute_of, pipeline, step_name
"""


def count_minutes(clickhouse: ClickHouse, times: str, version: int) -> None:
    """Count the minutes in `times` (SQL over broker_time that is made of whole minutes) and put them in place."""
    for statement in (_COUNT_STEPS, _COUNT_METRICS):
        count(clickhouse, _with_times(statement, times), {"version": version})


def count(clickhouse: ClickHouse, statement: str, parameters: Mapping[str, Any]) -> None:
    """Run a statement that counts rows into an aggregate, in bounded memory, and so that it can be waited for."""
    comment = writer_comment(clickhouse, "aggregates")
    clickhouse.command(statement, parameters, settings={**SPILL, "log_comment": comment})


def _with_times(statement: str, times: str) -> str:
    return statement.replace("{times}", times).replace("{{}}", "{}")
