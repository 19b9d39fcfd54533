"""Executions from events that are stored."""

from __future__ import annotations

from typing import Final

_EXECUTIONS: Final = """
SELECT event.pipeline, event.step_name, event.doc_id, event.execution_id,
    max((event.rank, event.event_time, toUInt128(event.event_id), event.status)),
    max(event.attempt),
    minIf(toNullable(event.event_time), event.status = 'RUNNING'),
    min(event.event_time),
    max(event.event_time)
FROM
(
    SELECT *,
        least(timestamp, toDateTime64(broker_time, 6, 'UTC')) AS event_time,
        toUInt8(multiIf(status = 'PENDING', 0, status = 'RUNNING', 1, 2)) AS rank
    FROM {table}
    WHERE {condition}
) AS event
GROUP BY event.pipeline, event.step_name, event.doc_id, event.execution_id
"""


def executions_of(table: str, condition: str) -> str:
    """SQL: a row for `step_executions` of each execution that has events in `table` which meet the condition."""
    return _EXECUTIONS.replace("{table}", table).replace("{condition}", condition)
