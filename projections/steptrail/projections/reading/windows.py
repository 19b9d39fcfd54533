"""Asking for the first rows in the order of time without reading the whole span: window by window.

Rows of several pipelines or statuses do not lie in the order of time, so a statement that sorts them reads every row
of its span, however few are wanted. What is wanted is mostly close to the position where reading begins. The span is
therefore read in windows, each longer than the one before, until there are enough rows. Windows adjoin: together they
give the rows of one statement over the span, and no row is read twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final
from uuid import UUID

from steptrail.projections.clickhouse.queries import Store, ask
from steptrail.projections.reading.spans import AFTER_ALL, BEFORE_ALL

FIRST_US: Final = 120_000_000
"""Length of the first window."""
FIRST_OF_RARE_US: Final = 1_800_000_000
"""The same where only statuses are wanted that few events have: a short window reads as many granules as this one."""
GROWTH: Final = 16
"""How many times longer each next window is."""
LONGEST_US: Final = 366 * 86_400_000_000
"""A window that would be longer takes all that is left."""
COMMON: Final = frozenset({"PENDING", "RUNNING", "SUCCESS"})
"""Statuses of most events. The projection by time has all that is shown of events of the other statuses."""


def ask_backward(store: Store, name: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows that `sql/<name>.sql` gives, the latest first.

    The statement takes `start_us`, `fetch`, and the position `from_us` and `from_id`, before which rows lie. Raises
    what `ask` does.
    """
    found: list[dict[str, Any]] = []
    return _fill(store, name, parameters, found, _backward(store, parameters, found))


def ask_forward(store: Store, name: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same for a statement that gives the earliest rows first, after the position; it takes `end_us` too."""
    found: list[dict[str, Any]] = []
    return _fill(store, name, parameters, found, _forward(store, parameters))


def _fill(
    store: Store,
    name: str,
    parameters: Mapping[str, Any],
    found: list[dict[str, Any]],
    windows: Iterator[dict[str, Any]],
) -> list[dict[str, Any]]:
    fetch = int(parameters["fetch"])
    for window in windows:
        found += ask(store, name, {**parameters, **window, "fetch": fetch - len(found)})
        if len(found) >= fetch:
            break
    return found


def _backward(
    store: Store, parameters: Mapping[str, Any], found: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    start, now = int(parameters["start_us"]), _now_us()
    # The first window has no upper bound of its own: events whose worker's clock was ahead lie in it.
    edge = min(int(parameters["from_us"]), int(parameters.get("end_us", AFTER_ALL)), now)
    known = edge < now
    position: dict[str, Any] = {}
    for number, width in enumerate(_widths(parameters)):
        # Nothing may have come for long. To ask is cheaper than an empty window, but a long one is rarely empty, and a
        # short span is one window.
        if not known and not found and start < edge - width and (width == FIRST_US or number > 0):
            edge, known = max(start, min(edge, _known_us(store, "newest_us"))), True
        edge = start if width > LONGEST_US else max(start, edge - width)
        yield {**position, "start_us": edge}
        if edge == start:
            return
        position = {"from_us": edge, "from_id": str(UUID(int=0))}


def _forward(store: Store, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    end = int(parameters["end_us"])
    edge = max(int(parameters["from_us"]), int(parameters["start_us"]))
    if edge <= BEFORE_ALL:
        edge = _known_us(store, "oldest_us")
    position: dict[str, Any] = {}
    for width in _widths(parameters):
        # Of what lies ahead of now there is little: it is no window of its own.
        edge = end if edge + width >= min(end, _now_us()) or width > LONGEST_US else edge + width
        yield {**position, "end_us": edge}
        if edge == end:
            return
        position = {"start_us": edge}


def _widths(parameters: Mapping[str, Any]) -> Iterator[int]:
    first = FIRST_US if COMMON.intersection(parameters.get("statuses", COMMON)) else FIRST_OF_RARE_US
    return (first * GROWTH**number for number in count())


def _known_us(store: Store, column: str) -> int:
    rows = ask(store, "known_times", {"fetch": 1})
    return int(rows[0][column]) if rows else 0


def _now_us() -> int:
    return time.time_ns() // 1000
