"""Asking for the first rows in the order of time without reading the whole span: window by window.

Rows of several pipelines or statuses do not lie in the order of time, so a statement that sorts them reads every row
of its span, however few are wanted. What is wanted is mostly close to the position where reading begins. The span is
therefore read in windows, each longer than the one before, until there are enough rows. Windows adjoin: together they
give the rows of one statement over the span, and no row is read twice, except that a first window with too few rows is
read again as a part of a longer one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import UUID

from steptrail.projections.clickhouse.queries import Store, ask, ask_sql, query
from steptrail.projections.reading.spans import AFTER_ALL, BEFORE_ALL

FIRST_US: Final = 120_000_000
"""Length of the first window."""
FIRST_OF_RARE_US: Final = 1_800_000_000
"""The same where only statuses are wanted that few events have: a short window reads as many granules as this one."""
GROWTH: Final = 16
"""How many times longer each next window is; what takes the place of the first one may be longer still."""
_MOST_GROWTH: Final = 4 * GROWTH  # there may be a burst just behind a window with few rows
LONGEST_US: Final = 366 * 86_400_000_000
"""A window that would be longer takes all that is left."""
COMMON: Final = frozenset({"PENDING", "RUNNING", "SUCCESS"})
"""Statuses of most events. The projection by time has all that is shown of events of the other statuses."""

# Nothing may have come for long, so the first window is counted from the newest event. To ask for that beside the rows
# takes a few ms; a statement of its own takes as long as half a window.
_START: Final = "{start_us:Int64}"
_NEWEST: Final = "SELECT toUnixTimestamp64Milli(max(broker_time)) * 1000 FROM steps"
_NEWEST_START: Final = f"greatest({_START}, ({_NEWEST}) - {{width_us:Int64}})"


def ask_backward(store: Store, name: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that `sql/<name>.sql` gives, the latest first.

    The statement takes `start_us`, `fetch`, and the position `from_us` and `from_id`, before which rows lie; its rows
    have `timestamp_us`. Raises what `ask` does.
    """
    start, now, width = int(parameters["start_us"]), _now_us(), _first(parameters)
    edge = min(int(parameters["from_us"]), int(parameters.get("end_us", AFTER_ALL)), now)
    if edge == now and start < now - width:
        fetch = int(parameters["fetch"])
        # Neither it nor the window that takes its place has an upper bound: workers' clocks may be ahead.
        found = ask_sql(store, query(name).replace(_START, _NEWEST_START), {**parameters, "width_us": width})
        if len(found) >= fetch:
            return found
        edge = min(now, int(found[0]["timestamp_us"]) if found else _known_us(store, "newest_us"))
        width *= _growth(fetch, len(found))
    return _fill(store, name, parameters, _backward(start, edge, width))


def ask_forward(store: Store, name: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same for a statement that gives the earliest rows first, after the position; it takes `end_us` too."""
    edge = max(int(parameters["from_us"]), int(parameters["start_us"]))
    if edge <= BEFORE_ALL:
        edge = _known_us(store, "oldest_us")
    return _fill(store, name, parameters, _forward(edge, int(parameters["end_us"]), _first(parameters)))


def _fill(
    store: Store, name: str, parameters: Mapping[str, Any], windows: Iterator[dict[str, Any]]
) -> list[dict[str, Any]]:
    fetch = int(parameters["fetch"])
    found: list[dict[str, Any]] = []
    for window in windows:
        found += ask(store, name, {**parameters, **window, "fetch": fetch - len(found)})
        if len(found) >= fetch:
            break
    return found


def _backward(start: int, edge: int, width: int) -> Iterator[dict[str, Any]]:
    position: dict[str, Any] = {}
    while True:
        edge = start if width > LONGEST_US else max(start, edge - width)
        yield {**position, "start_us": edge}
        if edge == start:
            return
        position = {"from_us": edge, "from_id": str(UUID(int=0))}
        width *= GROWTH


def _forward(edge: int, end: int, width: int) -> Iterator[dict[str, Any]]:
    position: dict[str, Any] = {}
    while True:
        # Of what lies ahead of now there is little: it is no window of its own.
        edge = end if edge + width >= min(end, _now_us()) or width > LONGEST_US else edge + width
        yield {**position, "end_us": edge}
        if edge == end:
            return
        position = {"start_us": edge}
        width *= GROWTH


def _growth(fetch: int, found: int) -> int:
    """How many times longer than the first window, which had so many rows, the one that takes its place is to be."""
    missing = fetch - found
    return min(max(GROWTH, (missing + missing // 2) // found), _MOST_GROWTH) if found else GROWTH


def _first(parameters: Mapping[str, Any]) -> int:
    return FIRST_US if COMMON.intersection(parameters.get("statuses", COMMON)) else FIRST_OF_RARE_US


def _known_us(store: Store, column: str) -> int:
    rows = ask(store, "known_times", {"fetch": 1})
    return int(rows[0][column]) if rows else 0


def _now_us() -> int:
    return time.time_ns() // 1000
