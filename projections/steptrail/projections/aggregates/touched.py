"""Minutes that are to be counted anew, by as many as one statement can take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from steptrail.projections.aggregates.error_group_counts import (
    TEMPLATES_OF_A_MINUTE,
    Crowd,
    count_error_hours,
    count_error_minutes,
    crowds,
)
from steptrail.projections.aggregates.step_minutes import count_minutes
from steptrail.projections.clickhouse.client import ClickHouse

MINUTE: Final = 60
HOUR: Final = 3600

# What one statement is given: minutes (they stand in its text), and what it must hold in memory.
_MOST_MINUTES: Final = 500
_MOST_STEPS: Final = 20_000
_MOST_ERRORS: Final = 300_000


@dataclass(frozen=True, slots=True)
class Touched:
    """A minute with events that are yet to be counted: its begin in seconds, their steps, and errors."""

    begin: int
    steps: int
    errors: int


def count_steps(clickhouse: ClickHouse, touched: Sequence[Touched], version: int, *, only: str = "1") -> None:
    """Count steps and metrics of these minutes; `only` is SQL over a row's pipeline and step."""
    for chunk in _chunks(touched, lambda one: one.steps, _MOST_STEPS):
        count_minutes(clickhouse, _only(only, spans("broker_time", chunk, MINUTE)), version)


def count_errors(
    clickhouse: ClickHouse,
    touched: Sequence[Touched],
    version: int,
    *,
    only: str = "1",
    most: int = TEMPLATES_OF_A_MINUTE,
) -> None:
    """Count error groups of these minutes, and put together the hours in which they lie."""
    for chunk in _chunks(touched, lambda one: one.errors, _MOST_ERRORS):
        count_error_groups(clickhouse, chunk, version, only=only, most=most)
        count_hours(clickhouse, chunk, version, only=only)


def count_error_groups(
    clickhouse: ClickHouse,
    touched: Sequence[Touched],
    version: int,
    *,
    only: str = "1",
    most: int = TEMPLATES_OF_A_MINUTE,
) -> None:
    """Count error groups of these minutes, which one statement can take."""
    found = crowds(clickhouse, _only(only, spans("broker_time", touched, MINUTE)), most=most)
    few = [one for one in touched if found.get(one.begin) is Crowd.FEW]
    parts = [(Crowd.FEW, few)] if few else []
    parts += [
        (crowd, [one]) for one in touched if (crowd := found.get(one.begin, Crowd.FEW)) is not Crowd.FEW
    ]
    for crowd, minutes in parts:
        times = _only(only, spans("broker_time", minutes, MINUTE))
        count_error_minutes(clickhouse, times, version, crowd, most=most)


def count_hours(clickhouse: ClickHouse, touched: Sequence[Touched], version: int, *, only: str = "1") -> None:
    """Put together the hours in which these minutes lie, from their minutes."""
    count_error_hours(clickhouse, _only(only, spans("minute", touched, HOUR)), version)


def _only(condition: str, times: str) -> str:
    return times if condition == "1" else f"({condition}) AND ({times})"


def _chunks(
    touched: Iterable[Touched], weight: Callable[[Touched], int], most: int
) -> Iterator[Sequence[Touched]]:
    """Minutes by as many as one statement can take; one that is too heavy by itself comes alone."""
    chunk: list[Touched] = []
    total = 0
    for one in touched:
        if chunk and (total + weight(one) > most or len(chunk) >= _MOST_MINUTES):
            yield chunk
            chunk, total = [], 0
        chunk.append(one)
        total += weight(one)
    if chunk:
        yield chunk


def spans(column: str, touched: Iterable[Touched], unit: int) -> str:
    """SQL: `column` lies in one of the touched minutes, or hours; neighbours are one span.

    The bounds have milliseconds, as broker_time has: ClickHouse 26.9 takes `time < toDateTime(end)` for
    `time <= end - 1 s` when it looks at an index, and so passes over a part whose events all lie in the last second.
    """
    begins = sorted({one.begin // unit * unit for one in touched})
    edges = [begins[0]]
    for before, after in pairwise(begins):
        if after != before + unit:
            edges += [before + unit, after]
    edges.append(begins[-1] + unit)
    return " OR ".join(
        f"({column} >= fromUnixTimestamp64Milli({begin * 1000}, 'UTC') "
        f"AND {column} < fromUnixTimestamp64Milli({end * 1000}, 'UTC'))"
        for begin, end in zip(edges[::2], edges[1::2], strict=True)
    )
