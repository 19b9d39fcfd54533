"""How much fails, runs, waits and is stuck now, by step: what the first page and the live numbers share."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from steptrail.consumers.loop.freshness import Freshness
from steptrail.consumers.web.limited_store import Lane, lane
from steptrail.consumers.web.workers import side_by_side
from steptrail.projections.clickhouse.queries import Store, ask, scope
from steptrail.projections.reading.failing import FailingCount, failing_counts
from steptrail.projections.reading.in_progress import OpenCount, in_progress_counts
from steptrail.projections.reading.spans import BEFORE_ALL
from steptrail.projections.reading.stalls import recent_stalls

_log = logging.getLogger("steptrail.consumers.web")

_MOST_STALLS: Final = 10_000
_LEAST_S: Final = 1.0
_MOST_S: Final = 15.0
_STALE_S: Final = 30.0
_MOST_KEPT: Final = 1000
_RECOUNT_S: Final = 60.0
"""What counting goes through may change without an event, by erasure or retention: so old it is counted again."""
_COSTS: Final = 5.0
"""Numbers are good for five times as long as it took to find them, a second at least: readers cost little together."""
_COUNTS_COST: Final = 10.0
"""Counts are good for ten times as long, while events are added, too."""
_MOST_OF_COUNTS_S: Final = 30.0

Step = tuple[str, str]
"""Pipeline and step."""

C = TypeVar("C", FailingCount, OpenCount)


@dataclass(frozen=True)
class Verdict:
    """What the health consumer says of a step; `since` in seconds since the epoch."""

    status: str
    sentence: str
    since: float


@dataclass(frozen=True)
class Now:
    """The numbers of each step, and how fresh the tables were before they were asked."""

    freshness: Freshness
    failing: Mapping[Step, FailingCount]
    open: Mapping[Step, OpenCount]
    stalled: Mapping[Step, int]
    verdicts: Mapping[Step, Verdict]

    def counts_hold(self, freshness: Freshness) -> bool:
        """Whether no event was added to the tables between these numbers and `freshness`."""
        return freshness.position is not None and freshness.position == self.freshness.position


def numbers_now(store: Store, pipeline: str | None, freshness: Freshness, counted: Now | None = None) -> Now:
    """Asks for them side by side. Raises what `ask` does.

    Counting what fails and what is open goes through all executions: these counts are those of `counted`, if given.
    """
    failing, open_, stalls, verdicts = side_by_side(
        lambda: counted.failing if counted else _by_step(failing_counts(store, pipeline)),
        lambda: counted.open if counted else _by_step(in_progress_counts(store, pipeline)),
        lambda: recent_stalls(store, pipeline, BEFORE_ALL, _MOST_STALLS),
        lambda: ask(store, "step_verdicts", {**scope(pipeline, store), "any_step": True, "step_name": ""}),
    )
    stalled: dict[Step, int] = {}
    for stall in stalls:
        stalled[stall.pipeline, stall.step_name] = stalled.get((stall.pipeline, stall.step_name), 0) + 1
    return Now(
        freshness,
        failing,
        open_,
        stalled,
        {
            (row["pipeline"], row["step_name"]): Verdict(
                row["status"], row["sentence"], row["since_ms"] / 1000
            )
            for row in verdicts
        },
    )


def _by_step(counts: Sequence[C]) -> dict[Step, C]:
    return {(each.pipeline, each.step_name): each for each in counts}


@dataclass
class _Kept:
    lock: threading.Lock = field(default_factory=threading.Lock)
    found: Now | None = None
    found_at: float = 0.0
    counted_at: float = float("-inf")
    counts_good_until: float = float("-inf")
    good_until: float = 0.0
    refreshing: bool = False


class NumbersKeeper:
    """Keeps the numbers for a moment, so that those who ask at the same time ask the store once.

    Only what needs no counting is asked for again while no event is added to the tables, and until counts that took
    long are past their time: the numbers then state the freshness of the counts. Numbers that are past their moment,
    but no older than half a minute, are given all the same while newer ones are asked for. Only the first who asks, or
    the first after a pause, waits.
    """

    def __init__(
        self, store: Store, freshness: Callable[[], Freshness], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._freshness, self._clock = store, freshness, clock
        self._lock = threading.Lock()
        self._kept: dict[Hashable, _Kept] = {}

    def current(self, pipeline: str | None) -> Now:
        """The numbers of a moment ago. Raises what `ask` does."""
        with self._lock:
            if len(self._kept) > _MOST_KEPT:
                self._kept.clear()
            kept = self._kept.setdefault(pipeline, _Kept())
            now, found = self._clock(), kept.found
            if found is not None and now < kept.good_until:
                return found
            if found is not None and now < kept.found_at + _STALE_S:
                if not kept.refreshing:
                    kept.refreshing = True
                    self._refresh_beside(pipeline, kept)
                return found
        with kept.lock:
            if kept.found is None or self._clock() >= kept.good_until:
                self._refresh(pipeline, kept)
            assert kept.found is not None
            return kept.found

    def _refresh(self, pipeline: str | None, kept: _Kept) -> None:
        freshness, began, counted = self._freshness(), self._clock(), kept.found
        if counted is None or began >= kept.counted_at + _RECOUNT_S:
            counted = None
        elif not counted.counts_hold(freshness):
            if began < kept.counts_good_until:
                freshness = counted.freshness
            else:
                counted = None
        with lane(Lane.COUNTING):
            found = numbers_now(self._store, pipeline, freshness, counted)
        with self._lock:
            kept.found, kept.found_at = found, self._clock()
            if counted is None:
                kept.counted_at = began
                good_for = min(_COUNTS_COST * (kept.found_at - began), _MOST_OF_COUNTS_S)
                kept.counts_good_until = kept.found_at + good_for
            kept.good_until = kept.found_at + min(max(_COSTS * (kept.found_at - began), _LEAST_S), _MOST_S)

    def _refresh_beside(self, pipeline: str | None, kept: _Kept) -> None:
        def refresh() -> None:
            try:
                with kept.lock:
                    self._refresh(pipeline, kept)
            except Exception as error:  # whoever asks once they are too old is told
                _log.debug("numbers were not refreshed: %s", error)
            finally:
                kept.refreshing = False

        threading.Thread(target=refresh, name="steptrail-web-numbers", daemon=True).start()


def steps_of(now: Now, more: Sequence[Step] = (), step_name: str | None = None) -> set[Step]:
    """The steps that any of the numbers is about, or `more`."""
    known = {*now.failing, *now.open, *now.stalled, *more}
    return {step for step in known if step_name in (None, step[1])}
