"""How steps fare over time: throughput, errors and durations, and how long documents wait between steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from steptrail.projections.clickhouse.queries import Store, ask, scope
from steptrail.projections.reading.spans import Span, step_scope
from steptrail.schemas.event import datetime_from_us, us_from_datetime

BUCKETS: Final = (60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400)
"""Seconds that one point of a series may stand for; whole minutes, since these are what is counted."""
MOST_POINTS: Final = 50_000
_WANTED_POINTS: Final = 120
_MOST_EXECUTIONS: Final = 200_000
"""Waits are looked up in about so many executions at most: beyond, of a share of the documents."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """One step, or all of them (empty names), from `begins` (aware, UTC) on; events by status, each event once.

    `ended` counts SUCCESS, WARNING, ERROR and FAILED; `error_ratio` is the share of ERROR and FAILED in these, None
    where nothing ended. Durations in ms, to within 2 %, None where none was told.
    """

    begins: datetime
    pipeline: str
    step_name: str
    pending: int
    running: int
    success: int
    warning: int
    error: int
    failed: int
    skipped: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    last_minute: datetime

    @property
    def ended(self) -> int:
        """Executions that came to an end, well or badly."""
        return self.success + self.warning + self.error + self.failed

    @property
    def error_ratio(self) -> float | None:
        """Share of these that ended in ERROR or FAILED."""
        return (self.error + self.failed) / self.ended if self.ended else None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Throughput:
        """From a row of `sql/throughput.sql`."""
        p50, p95, p99 = row["quantiles"]
        counts = ("pending", "running", "success", "warning", "error", "failed", "skipped")
        return cls(
            begins=datetime_from_us(int(row["begins"]) * 1_000_000),
            pipeline=row["pipeline_name"],
            step_name=row["step"],
            **{name: int(row[name]) for name in counts},
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            max_ms=row["max_ms"],
            last_minute=datetime_from_us(int(row["last_minute"]) * 1_000_000),
        )


@dataclass(frozen=True, slots=True)
class Series:
    """Points in the order of time, each of `bucket_seconds`; where nothing happened there is no point."""

    bucket_seconds: int
    points: Sequence[Throughput]


@dataclass(frozen=True, slots=True)
class Wait:
    """How long documents waited before `step_name` since the end of `after_step`; milliseconds."""

    pipeline: str
    step_name: str
    after_step: str
    waits: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class Waits:
    """Waits by step, found in one of `one_in` documents, chosen by their ids: 1 means all of them."""

    items: Sequence[Wait]
    one_in: int


@dataclass(frozen=True, slots=True)
class DurationClass:
    """So many executions took from `from_ms` (inclusive) to `to_ms` (exclusive)."""

    from_ms: float
    to_ms: float
    executions: int


def bucket_for(since: datetime, until: datetime) -> int:
    """Seconds of a point, such that a series over this span has about 120 of them."""
    wanted = (until - since).total_seconds() / _WANTED_POINTS
    return next((bucket for bucket in BUCKETS if bucket >= wanted), BUCKETS[-1])


def throughput_series(
    store: Store,
    pipeline: str | None,
    step_name: str | None,
    since: datetime,
    until: datetime,
    *,
    bucket_seconds: int | None = None,
    by_step: bool = False,
) -> Series:
    """Throughput over time, of all steps together or `by_step`, from the minutes that the health consumer counts.

    Times are the brokers'; the first point begins at a whole bucket. Raises ValueError for a span that would have
    more than MOST_POINTS points, or a bucket that is none of BUCKETS.
    """
    bucket = bucket_for(since, until) if bucket_seconds is None else bucket_seconds
    if bucket not in BUCKETS:
        raise ValueError(f"bucket_seconds must be one of {', '.join(map(str, BUCKETS))}, not {bucket}")
    start = us_from_datetime(since) // 1_000_000 // bucket * bucket
    end = -(-us_from_datetime(until) // 1_000_000)
    if (end - start) / bucket > MOST_POINTS:
        raise ValueError(f"more than {MOST_POINTS} points: take a longer bucket or a shorter span")
    return Series(bucket, _throughput(store, pipeline, step_name, start, end, bucket, by_step, total=False))


def throughput_totals(
    store: Store, pipeline: str | None, step_name: str | None, since: datetime, until: datetime
) -> list[Throughput]:
    """Each step over the whole span, by whole minutes."""
    start = us_from_datetime(since) // 60_000_000 * 60
    end = -(-us_from_datetime(until) // 1_000_000)
    return _throughput(store, pipeline, step_name, start, end, 60, by_step=True, total=True)


def _throughput(
    store: Store,
    pipeline: str | None,
    step_name: str | None,
    start_s: int,
    end_s: int,
    bucket_s: int,
    by_step: bool,
    *,
    total: bool,
) -> list[Throughput]:
    parameters = {
        **step_scope(store, pipeline, step_name),
        "start_s": start_s,
        "end_s": end_s,
        "bucket_s": bucket_s,
        "by_step": by_step,
        "total": total,
        "fetch": MOST_POINTS,
    }
    return [Throughput.from_row(row) for row in ask(store, "throughput", parameters)]


def waits(store: Store, pipeline: str | None, step_name: str | None, span: Span) -> Waits:
    """How long documents waited before each step, of executions that began within the span."""
    within = {**scope(pipeline, store), **span.parameters()}
    [row] = ask(store, "executions_in_span", within)
    one_in = max(1, math.ceil(int(row["executions"]) / _MOST_EXECUTIONS))
    parameters = {**within, **step_scope(store, pipeline, step_name), "share": one_in, "fetch": 10_000}
    found = []
    for row in ask(store, "waits", parameters):
        p50, p95, p99 = row["quantiles"]
        names = row["pipeline"], row["step_name"], row["after_step"]
        found.append(Wait(*names, int(row["waits"]), p50, p95, p99, row["max_ms"]))
    return Waits(tuple(found), one_in)


def duration_histogram(store: Store, pipeline: str, step_name: str, span: Span) -> list[DurationClass]:
    """How many executions of a step took how long, in classes that each are a third longer than the one before."""
    names = step_scope(store, pipeline, step_name)
    parameters = {
        **{name: names[name] for name in ("pipeline", "step_name")},
        **span.parameters(),
    }
    return [
        DurationClass(2 ** (row["class"] / 2.4), 2 ** ((row["class"] + 1) / 2.4), int(row["executions"]))
        for row in ask(store, "duration_histogram", parameters)
    ]


def judged_until(store: Store) -> datetime | None:
    """Up to when minutes and error groups have been counted, by the broker's clock; None: nothing was."""
    rows = ask(store, "judged_until", {"fetch": 1})
    return datetime_from_us(int(rows[0]["until_ms"]) * 1000) if rows else None
