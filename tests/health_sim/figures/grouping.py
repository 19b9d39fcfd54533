"""How many error messages a second are put into groups by their templates: a minute with 20,000 different ones."""

from __future__ import annotations

import statistics
import time

from bench.figure import Figure
from bench.session import Session
from health_sim.simulation import Simulation
from steptrail.projections.aggregates.error_group_counts import count_error_minutes, crowds
from steptrail.projections.clickhouse.client import connect

BOUND = 200_000
MESSAGES = 1_000_000
DISTINCT = 20_000
LAPS = 5
_MINUTE = 1_790_000_040
_TIMES = (
    f"broker_time >= fromUnixTimestamp64Milli({_MINUTE}000, 'UTC') "
    f"AND broker_time < fromUnixTimestamp64Milli({_MINUTE + 60}000, 'UTC')"
)

# Fifty texts, each with an address, a number, a path and a quotation that differ.
_FILL = f"""
INSERT INTO health_events (pipeline, step_name, doc_id, status, timestamp, broker_time, event_id, execution_id, attempt,
    error_type, error_message, metrics, worker, topic_id, kafka_partition, kafka_offset)
SELECT 'invoices', 'ocr', concat('doc-', toString(number % 5000)), 'ERROR', at, at, generateUUIDv7(), generateUUIDv4(),
    1, 'TimeoutError',
    concat(
        'stage ', char(97 + kind % 2, 97 + intDiv(kind, 2)), ' of 10.0.', toString(one % 250), '.7:8443 gave no ',
        'answer within ', toString(one), ' ms for /data/in/', toString(one), '.pdf page "', toString(one), '"'
    ),
    '{{}}', 'host:1', 'topic', 0, number
FROM
(
    SELECT number, cityHash64(number) % {DISTINCT} AS one, one % 50 AS kind,
        fromUnixTimestamp64Milli({_MINUTE}000 + intDiv(number * 60000, {MESSAGES}), 'UTC') AS at
    FROM numbers({MESSAGES})
)
"""


def measure(simulation: Simulation) -> list[Figure]:
    """Median over laps of: find out how many messages there are, and count the minute's groups."""
    rates = []
    with Session(quick=simulation.quick) as session, connect(session.workspace("grouping")) as clickhouse:
        clickhouse.command(_FILL)
        for lap in range(LAPS):
            began = time.perf_counter()
            [(_, crowd)] = crowds(clickhouse, _TIMES).items()
            count_error_minutes(clickhouse, _TIMES, lap + 1, crowd)
            rates.append(MESSAGES / (time.perf_counter() - began))
        [(groups, counted, distinct)] = clickhouse.query(
            "SELECT count(), sum(count), (SELECT uniqExact(error_message) FROM health_events) "
            "FROM error_group_minutes FINAL"
        )
    if (counted, distinct) != (MESSAGES, DISTINCT):
        raise RuntimeError(f"{counted} messages were counted, {distinct} of them different")
    rate = statistics.median(rates)
    detail = {"groups": groups, "distinct": distinct, "messages": MESSAGES, "per_s": rates}
    return [Figure("error_group_messages_per_s", rate, "messages/s", f">= {BOUND}", rate >= BOUND, detail)]
