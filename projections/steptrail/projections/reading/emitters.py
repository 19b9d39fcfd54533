"""Emitters: what became of their events, and how far their workers' clocks are from the brokers'."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from steptrail.projections.clickhouse.queries import Store, ask, micros, scope
from steptrail.schemas.event import datetime_from_us

CLOCK_OFF_MS: Final = 500.0
"""A clock that is certainly off by more is said to be off; emitters correct their times from there on."""

_BEFORE_ALL: Final = -(2**61)


@dataclass(frozen=True, slots=True)
class EmitterState:
    """One emitter of one process. Counts are those of its last report, 0 before the first; times are aware, UTC."""

    emitter_id: str
    worker: str
    """host:pid."""
    pipeline: str
    state: str
    """`closed`, or after which sequence number nothing is known."""
    arrived: int
    """Its events that were projected."""
    accepted: int
    delivered: int
    failed: int
    maybe_delivered: int
    """Those of the failed ones that the broker may have stored all the same."""
    dropped: int
    pending: int
    missing: int
    """Events that it took and that did not arrive, as far as is known."""
    reasons: dict[str, Any]
    last_event_at: datetime | None
    last_report_at: datetime | None
    clock_offset_ms: float | None
    """What must be added to the worker's clock to have the brokers'; positive: it is behind. None: not known."""
    clock_uncertainty_ms: float | None

    @property
    def last_heard_at(self) -> datetime | None:
        """When the broker took its last event or report."""
        return max((at for at in (self.last_event_at, self.last_report_at) if at is not None), default=None)

    @property
    def clock_off(self) -> bool:
        """Whether its clock is certainly off, by more than CLOCK_OFF_MS."""
        if self.clock_offset_ms is None or self.clock_uncertainty_ms is None:
            return False
        return abs(self.clock_offset_ms) - self.clock_uncertainty_ms > CLOCK_OFF_MS

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> EmitterState:
        """From a row of `sql/emitters.sql`."""
        numbers = (
            "arrived",
            "accepted",
            "delivered",
            "failed",
            "maybe_delivered",
            "dropped",
            "pending",
            "missing",
        )
        return cls(
            emitter_id=str(row["emitter_id"]),
            worker=row["worker"],
            pipeline=row["pipeline"],
            state=row["state"],
            **{name: int(row[name]) for name in numbers},
            reasons=json.loads(row["reasons"] or "{}"),
            last_event_at=_moment(row["last_event_ms"]),
            last_report_at=_moment(row["last_report_ms"]),
            clock_offset_ms=row["clock_offset_ms"],
            clock_uncertainty_ms=row["clock_uncertainty_ms"],
        )


@dataclass(frozen=True, slots=True)
class ClockOff:
    """The worst of `emitters` clocks that are off."""

    worker: str
    offset_ms: float
    uncertainty_ms: float
    emitters: int


def emitters(
    store: Store, pipeline: str | None, since: datetime | None, limit: int, *, only_off: bool = False
) -> list[EmitterState]:
    """Up to `limit` emitters that were heard of at or after `since`, the latest first; `only_off`: with such a clock.

    Raises what `ask` does (`steptrail.projections.clickhouse.queries`), ValueError for a time without a zone.
    """
    parameters = {
        **scope(pipeline),
        "start_us": micros("since", since, _BEFORE_ALL),
        "only_off": only_off,
        "off_ms": CLOCK_OFF_MS,
        "fetch": limit,
    }
    return [EmitterState.from_row(row) for row in ask(store, "emitters", parameters)]


def worst_clock(store: Store, pipeline: str | None, since: datetime, off_ms: float) -> ClockOff | None:
    """Of the clocks that are certainly off by more than `off_ms`, and heard of since then; None: there are none."""
    parameters = {
        **scope(pipeline),
        "start_us": micros("since", since, _BEFORE_ALL),
        "off_ms": off_ms,
        "fetch": 1,
    }
    for row in ask(store, "clocks_off", parameters):
        return ClockOff(row["worker"], row["offset_ms"], row["uncertainty_ms"], int(row["emitters"]))
    return None


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime_from_us(int(milliseconds) * 1000)
