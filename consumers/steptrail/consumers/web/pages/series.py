"""Throughput and error ratio over time, as bars with their table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from steptrail.consumers.web.models.work import Point
from steptrail.consumers.web.pages.drawing.sparkline import bars
from steptrail.consumers.web.pages.page import Page
from steptrail.consumers.web.pages.panel import Way
from steptrail.consumers.web.pages.words import percent
from steptrail.schemas.figures import figure


def slots(page: Page, bucket_seconds: int) -> list[datetime]:
    """The beginnings of all points of the page's time."""
    span = page.range.between
    first = span.since.timestamp() // bucket_seconds * bucket_seconds
    count = int(-(-(span.until.timestamp() - first) // bucket_seconds))
    start = datetime.fromtimestamp(first, timezone.utc)
    return [start + timedelta(seconds=bucket_seconds * number) for number in range(max(count, 1))]


def charts(page: Page, points: Sequence[Point], bucket_seconds: int) -> list[dict[str, Any]]:
    """What the overview draws of the page's time."""
    moments = slots(page, bucket_seconds)
    by_time = {point.begins: point for point in points}
    shown = [by_time.get(moment) for moment in moments]
    begins = [round(moment.timestamp() * 1000) for moment in moments]
    minutes = max(page.range.between.seconds / 60, 1)
    total = sum(point.ended for point in points)
    bad = sum(point.error + point.failed for point in points)
    way = page.ways(Way("/throughput", page.parameters(), ("throughput", *page.options()), "throughput"))
    rates: list[float | None] = [float(point.ended) if point else 0.0 for point in shown]
    # Where nothing ended there is no share of it: no data, which is not 0 %.
    shares = [point.error_ratio if point else None for point in shown]
    texts = [f"{point.ended:,}" if point else "" for point in shown]
    ratios = ["" if share is None else percent(share) for share in shares]
    return [
        _chart(
            "chart-ended",
            "executions ended",
            f"{total:,}, {figure(total / minutes)} a minute",
            rates,
            "text",
            begins,
            texts,
            way,
            bucket_seconds,
        ),
        _chart(
            "chart-errors",
            "errors, share of ended",
            f"{percent(bad / total)}: {bad:,} of {total:,}" if total else "nothing ended",
            shares,
            "failed",
            begins,
            ratios,
            way,
            bucket_seconds,
        ),
    ]


def _chart(
    name: str,
    title: str,
    summary: str,
    values: Sequence[float | None],
    colour: str,
    begins: Sequence[int],
    texts: Sequence[str],
    ways: Sequence[tuple[str, str]],
    bucket_seconds: int,
) -> dict[str, Any]:
    return {
        "id": name,
        "title": title,
        "summary": summary,
        "problem": "",
        "drawing": bars(values, f"{title}: {summary}", colour),
        "from_ms": begins[0],
        "until_ms": begins[-1] + bucket_seconds * 1000,
        "rows": [(at, text) for at, text in zip(begins, texts, strict=True) if text],
        "ways": ways,
    }
