"""What addresses take: names, times, states, pages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Annotated

from fastapi import Depends, Query, Request
from pydantic import AfterValidator

from steptrail.consumers.web.answering import principal_of, refuse_others
from steptrail.consumers.web.spans import Between, between


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("a name holds no NUL")
    return text


Name = Annotated[str, AfterValidator(_no_nul)]

StepName = Annotated[Name | None, Query(max_length=4096, description="Only this step.")]
DocId = Annotated[Name, Query(min_length=1, max_length=4096, description="The document.")]
After = Annotated[Name | None, Query(max_length=12_000, description="`next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=500, description="How many items a page has, at most.")]
Since = Annotated[
    str | None,
    Query(
        max_length=64,
        description="From when on: a time with its zone, or how long ago (30m, 2h, 7d).",
        examples=["1h", "2026-05-04T12:00:00Z"],
    ),
]
Until = Annotated[
    str | None, Query(max_length=64, description="Until when, exclusive; now unless given.", examples=["10m"])
]


def scoped(
    request: Request,
    pipeline: Annotated[
        Name | None, Query(max_length=4096, description="Only this pipeline; all of them unless given.")
    ] = None,
) -> str | None:
    """The pipeline that a question is about, as far as who asks may see it."""
    return refuse_others(principal_of(request), pipeline)


Pipeline = Annotated[str | None, Depends(scoped)]


def now() -> datetime:
    """The end of the second that it is, so that equal questions of one second are the same question."""
    return datetime.fromtimestamp(math.floor(time.time()) + 1, timezone.utc)


def span(default: str) -> Callable[[Since, Until], Between]:
    """A dependency: the span of a question that begins `default` before its end, unless `since` is given."""

    def spanned(since: Since = None, until: Until = None) -> Between:
        return between(since, until, now(), default)

    return spanned


LastHour = Annotated[Between, Depends(span("1h"))]
LastDay = Annotated[Between, Depends(span("1d"))]
LastMonth = Annotated[Between, Depends(span("30d"))]
EverySince = Annotated[Between, Depends(span("3650d"))]
