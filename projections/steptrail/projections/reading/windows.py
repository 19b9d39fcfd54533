"""Asking for the first rows in the order of time without reading the whole span: window by window.

Rows of several pipelines or statuses do not lie in the order of time, so a statement that sorts them reads every row
of its span, however few are wanted. What is wanted is mostly close to the position where reading begins. The span is
therefore read in windows, each longer than the one before, until there are enough rows. Windows adjoin: together they
give the rows of one statement over the span, and no row is read twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias
from uuid import UUID

from steptrail.projections.clickhouse.queries import Store, ask, ask_sql, query
from steptrail.projections.reading.spans import AFTER_ALL, BEFORE_ALL

FIRST_US: Final = 120_000_000
"""Length of the first window."""
FIRST_OF_RARE_US: Final = 1_800_000_000
"""The same where only statuses are wanted that few events have: a short window reads as many granules as this one."""
GROWTH: Final = 16
"""How many times longer each next window is at least."""
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

Rows: TypeAlias = "list[dict[str, Any]]"


def ask_backward(store: Store, name: str, parameters: Mapping[str, Any]) -> Rows:
    """The rows that `sql/<name>.sql` gives, the latest first.

    The statement takes `start_us`, `fetch`, and the position `from_us` and `from_id`, before which rows lie; its rows
    have `timestamp_us`. Raises what `ask` does.
    """
    fetch, start, width, now = (
        int(parameters["fetch"]),
        int(parameters["start_us"]),
        _first(parameters),
        _now_us(),
    )
    edge = min(int(parameters["from_us"]), int(parameters.get("end_us", AFTER_ALL)), now)
    if edge == now and start < now - width:
        # Neither it nor the window that takes its place has an upper bound: workers' clocks may be ahead.
        found = ask_sql(store, query(name).replace(_START, _NEWEST_START), {**parameters, "width_us": width})
        if len(found) >= fetch:
            return found
        edge = min(now, int(found[0]["timestamp_us"]) if found else _known_us(store, "newest_us"))
        width *= _growth(fetch, len(found))
    position: dict[str, Any] = {}

    def window(width: int) -> tuple[dict[str, Any], bool]:
        nonlocal edge, position
        edge = start if width > LONGEST_US else max(start, edge - width)
        of_window, position = {**position, "start_us": edge}, {"from_us": edge, "from_id": str(UUID(int=0))}
        return of_window, edge == start

    return _fill(store, name, parameters, width, window)


def ask_forward(store: Store, name: str, parameters: Mapping[str, Any]) -> Rows:
    """The same for a statement that gives the earliest rows first, after the position; it takes `end_us` too."""
    end, now = int(parameters["end_us"]), _now_us()
    edge = max(int(parameters["from_us"]), int(parameters["start_us"]))
    if edge <= BEFORE_ALL:
        edge = _known_us(store, "oldest_us")
    position: dict[str, Any] = {}

    def window(width: int) -> tuple[dict[str, Any], bool]:
        nonlocal edge, position
        # Of what lies ahead of now there is little: it is no window of its own.
        edge = end if edge + width >= min(end, now) or width > LONGEST_US else edge + width
        of_window, position = {**position, "end_us": edge}, {"start_us": edge}
        return of_window, edge == end

    return _fill(store, name, parameters, _first(parameters), window)


def _fill(
    store: Store,
    name: str,
    parameters: Mapping[str, Any],
    width: int,
    window: Callable[[int], tuple[dict[str, Any], bool]],
) -> Rows:
    """Rows of one window after the other, until there are enough; `window` says when the span ends with it."""
    found: Rows = []
    fetch, is_last = int(parameters["fetch"]), False
    while len(found) < fetch and not is_last:
        bounds, is_last = window(width)
        rows = ask(store, name, {**parameters, **bounds, "fetch": fetch - len(found)})
        found += rows
        width *= _growth(fetch - len(found), len(rows))
    return found


def _growth(missing: int, found: int) -> int:
    """How many times longer than a window the next one is to be, by how many rows that one had."""
    needed = missing + missing // 2
    return min(max(GROWTH, needed // found), _MOST_GROWTH) if found else GROWTH


def _first(parameters: Mapping[str, Any]) -> int:
    return FIRST_US if COMMON.intersection(parameters.get("statuses", COMMON)) else FIRST_OF_RARE_US


def _known_us(store: Store, column: str) -> int:
    rows = ask(store, "known_times", {"fetch": 1})
    return int(rows[0][column]) if rows else 0


def _now_us() -> int:
    return time.time_ns() // 1000
