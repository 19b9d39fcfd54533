"""Counting minutes and error groups anew once events were erased.

The health consumer goes on counting meanwhile. What it counts from events that are gone is waited for and removed;
what it counts later is right, and wins: rows written here have version 0. So neither puts a count in place that has
erased events in it, or lacks others.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from steptrail.projections.aggregates.touched import (
    MINUTE,
    Touched,
    count_error_groups,
    count_hours,
    count_steps,
    spans,
)
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.concurrency import together
from steptrail.projections.clickhouse.running import wait_for_writers
from steptrail.projections.lifecycle.erasures import minutes_of
from steptrail.projections.lifecycle.mutations import hide
from steptrail.projections.lifecycle.stored_tables import EventTable, counted_tables

_VERSION: Final = 0
_AT_ONCE: Final = 200


def recount(clickhouse: ClickHouse, request: uuid.UUID) -> None:
    """Count the minutes of an erasure whose events are hidden by now, and the hours in which they lie."""
    found: dict[str, list[int]] = defaultdict(list)
    for pipeline, begin in minutes_of(clickhouse, request):
        found[pipeline].append(begin)
    if not found:
        return
    of_minutes = [table for table in counted_tables() if table.minute == "minute"]
    of_hours = [table for table in counted_tables() if table.minute == "hour"]
    wait_for_writers(clickhouse)
    together(partial(hide, clickhouse, table.name, _counted(table, request)) for table in of_minutes)
    for only, touched in _chunks(clickhouse, found):
        count_steps(clickhouse, touched, _VERSION, only=only)
        if with_errors := [one for one in touched if one.errors]:
            count_error_groups(clickhouse, with_errors, _VERSION, only=only)
    # An hour may just have been put together while its minutes were missing.
    wait_for_writers(clickhouse)
    together(partial(hide, clickhouse, table.name, _counted(table, request)) for table in of_hours)
    for only, touched in _chunks(clickhouse, found):
        count_hours(clickhouse, touched, _VERSION, only=only)


def _chunks(clickhouse: ClickHouse, found: dict[str, list[int]]) -> Iterator[tuple[str, Sequence[Touched]]]:
    """SQL for a pipeline, and minutes of it with what they hold now."""
    for pipeline, begins in found.items():
        only = f"pipeline = unhex('{pipeline.encode().hex()}')"
        for first in range(0, len(begins), _AT_ONCE):
            chunk = [Touched(begin, 0, 0) for begin in begins[first : first + _AT_ONCE]]
            holds = {
                int(begin): (int(steps), int(errors))
                for begin, steps, errors in clickhouse.query(
                    "SELECT toUnixTimestamp(toStartOfMinute(broker_time)) AS begin, uniqExact(step_name), "
                    f"countIf(status IN ('ERROR', 'FAILED')) FROM health_events WHERE {only} "
                    f"AND ({spans('broker_time', chunk, MINUTE)}) GROUP BY begin"
                )
            }
            yield only, [Touched(one.begin, *holds.get(one.begin, (0, 0))) for one in chunk]


def _counted(table: EventTable, request: uuid.UUID) -> str:
    """SQL: the row was counted from a minute of the erasure."""
    begin = "toStartOfHour(one.2)" if table.minute == "hour" else "one.2"
    return (
        f"(pipeline, {table.minute}) IN (SELECT one.1, {begin} FROM erasures ARRAY JOIN minutes AS one "
        f"WHERE request = toUUID('{request}'))"
    )
