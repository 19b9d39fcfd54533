"""What is failing, what is in progress, how steps fare."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta, timezone
from typing import Final

from steptrail.consumers.web.models import work
from steptrail.consumers.web.spans import Between
from steptrail.projections.clickhouse.queries import Store, ask, scope
from steptrail.projections.reading.failing import FailingCount, failing, failing_counts
from steptrail.projections.reading.in_progress import OpenCount, in_progress, in_progress_counts
from steptrail.projections.reading.spans import BEFORE_ALL
from steptrail.projections.reading.stalls import recent_stalls
from steptrail.projections.reading.throughput import (
    Throughput,
    duration_histogram,
    judged_until,
    throughput_series,
    throughput_totals,
    waits,
)
from steptrail.projections.stores.error_groups import ErrorGroup, GroupState, error_groups
from steptrail.schemas.status import ProcessingStatus

_MOST_STALLS: Final = 10_000
_HEALTH_ORDER: Final = ("CRITICAL", "WARNING", "UNKNOWN", "HEALTHY")


def failing_answer(
    store: Store,
    pipeline: str | None,
    step_name: str | None,
    span: Between,
    statuses: Collection[ProcessingStatus],
    after: str | None,
    limit: int,
) -> work.FailingAnswer:
    """What is failing now."""
    page = failing(store, pipeline, step_name, span=span.span, statuses=statuses, after=after, limit=limit)
    return work.FailingAnswer(
        items=[work.FailingStep.model_validate(each) for each in page.items], next=page.next
    )


def failing_counts_answer(
    store: Store, pipeline: str | None, step_name: str | None, span: Between
) -> work.FailingCountsAnswer:
    """How many documents are failing now."""
    counts = failing_counts(store, pipeline, step_name, span=span.span)
    return work.FailingCountsAnswer(
        documents=sum(each.documents for each in counts),
        can_be_retried=sum(each.can_be_retried for each in counts),
        items=[work.FailingCount.model_validate(each) for each in counts],
    )


def in_progress_answer(
    store: Store,
    pipeline: str | None,
    step_name: str | None,
    statuses: Collection[ProcessingStatus],
    only_stalled: bool,
    after: str | None,
    limit: int,
) -> work.InProgressAnswer:
    """What runs and what waits now."""
    page = in_progress(
        store, pipeline, step_name, statuses=statuses, only_stalled=only_stalled, after=after, limit=limit
    )
    return work.InProgressAnswer(
        items=[work.OpenStep.model_validate(each) for each in page.items], next=page.next
    )


def in_progress_counts_answer(
    store: Store, pipeline: str | None, step_name: str | None
) -> work.InProgressCountsAnswer:
    """How much runs and waits now."""
    counts = in_progress_counts(store, pipeline, step_name)
    return work.InProgressCountsAnswer(
        running=sum(each.running for each in counts),
        queued=sum(each.queued for each in counts),
        items=[work.OpenCount.model_validate(each) for each in counts],
    )


def throughput_answer(
    store: Store,
    pipeline: str | None,
    step_name: str | None,
    span: Between,
    bucket_seconds: int | None,
    by_step: bool,
) -> work.ThroughputAnswer:
    """Throughput, errors and durations over time."""
    series = throughput_series(
        store, pipeline, step_name, span.since, span.until, bucket_seconds=bucket_seconds, by_step=by_step
    )
    return work.ThroughputAnswer(
        since=span.since,
        until=span.until,
        bucket_seconds=series.bucket_seconds,
        counted_until=judged_until(store),
        items=[work.Point.model_validate(each) for each in series.points],
    )


def waits_answer(
    store: Store, pipeline: str | None, step_name: str | None, span: Between
) -> work.WaitsAnswer:
    """How long documents wait between steps."""
    found = waits(store, pipeline, step_name, span.span)
    return work.WaitsAnswer(
        since=span.since,
        until=span.until,
        one_in=found.one_in,
        items=[work.WaitRow.model_validate(each) for each in found.items],
    )


def durations_answer(store: Store, pipeline: str, step_name: str, span: Between) -> work.DurationsAnswer:
    """How long the executions of one step took."""
    classes = duration_histogram(store, pipeline, step_name, span.span)
    return work.DurationsAnswer(
        since=span.since, until=span.until, items=[work.DurationRow.model_validate(each) for each in classes]
    )


def pipelines_answer(store: Store, pipelines: Collection[str] | None = None) -> work.PipelinesAnswer:
    """The pipelines and steps of which anything was ever heard; `pipelines`: only these."""
    steps: dict[str, list[str]] = {}
    for row in ask(store, "steps_by_pipeline", {**scope(None), "fetch": 20_000}):
        steps.setdefault(row["pipeline"], [])
        if row["step_name"]:
            steps[row["pipeline"]].append(row["step_name"])
    return work.PipelinesAnswer(
        items=[
            work.PipelineRow(pipeline=name, steps=sorted(of))
            for name, of in sorted(steps.items())
            if pipelines is None or name in pipelines
        ]
    )


def steps_answer(
    store: Store, pipeline: str | None, step_name: str | None, span: Between
) -> work.StepsAnswer:
    """Every step, how it fares within the span, and how it is now."""
    return work.StepsAnswer(
        since=span.since,
        until=span.until,
        counted_until=judged_until(store),
        items=_rows(store, pipeline, step_name, span),
    )


def overview_answer(
    store: Store,
    pipeline: str | None,
    span: Between,
    health: str,
    sentence: str,
    health_since: datetime | None,
) -> work.OverviewAnswer:
    """Everything that the first page shows."""
    rows = _rows(store, pipeline, None, span)
    series = throughput_series(store, pipeline, None, span.since, span.until)
    groups = error_groups(
        store, pipeline, states=(GroupState.NEW, GroupState.REGRESSED), since=span.since, limit=10
    )
    return work.OverviewAnswer(
        since=span.since,
        until=span.until,
        health=health,
        health_sentence=sentence,
        health_since=health_since,
        counted_until=judged_until(store),
        failing_documents=sum(row.failing_documents for row in rows),
        can_be_retried=sum(row.can_be_retried for row in rows),
        running=sum(row.running for row in rows),
        queued=sum(row.queued for row in rows),
        stalled=sum(row.stalled for row in rows),
        changed=[work.Changed.model_validate(group, extra="ignore") for group in groups],
        changed_more=groups.other_groups - groups.not_looked_at,
        steps=rows,
        bucket_seconds=series.bucket_seconds,
        series=[work.Point.model_validate(each) for each in series.points],
    )


def _rows(store: Store, pipeline: str | None, step_name: str | None, span: Between) -> list[work.StepRow]:
    fared = {
        (each.pipeline, each.step_name): each
        for each in throughput_totals(store, pipeline, step_name, span.since, span.until)
    }
    # What fails now matters however long ago it began.
    broken = {(each.pipeline, each.step_name): each for each in failing_counts(store, pipeline, step_name)}
    open_ = {(each.pipeline, each.step_name): each for each in in_progress_counts(store, pipeline, step_name)}
    stalled: dict[tuple[str, str], int] = {}
    for stall in recent_stalls(store, pipeline, BEFORE_ALL, _MOST_STALLS):
        key = stall.pipeline, stall.step_name
        stalled[key] = stalled.get(key, 0) + 1
    verdicts = _verdicts(store, pipeline, step_name)
    errors = _last_errors(store, pipeline, step_name, span)
    keys = set(fared) | set(broken) | set(open_) | {key for key in stalled if step_name in (None, key[1])}
    rows = [
        _row(
            key,
            span,
            fared.get(key),
            broken.get(key),
            open_.get(key),
            stalled.get(key, 0),
            verdicts.get(key),
            errors.get(key),
        )
        for key in keys
    ]
    rows.sort(
        key=lambda row: (
            _HEALTH_ORDER.index(row.health),
            -row.stalled,
            -row.failing_documents,
            row.pipeline,
            row.step_name,
        )
    )
    return rows


def _row(
    key: tuple[str, str],
    span: Between,
    fared: Throughput | None,
    broken: FailingCount | None,
    open_: OpenCount | None,
    stalled: int,
    verdict: tuple[str, str, datetime] | None,
    error: ErrorGroup | None,
) -> work.StepRow:
    minutes = max(span.seconds / 60, 1.0)
    return work.StepRow(
        pipeline=key[0],
        step_name=key[1],
        health=verdict[0] if verdict else "UNKNOWN",
        sentence=verdict[1] if verdict else None,
        health_since=verdict[2] if verdict else None,
        ended=fared.ended if fared else 0,
        success=fared.success if fared else 0,
        warning=fared.warning if fared else 0,
        error=fared.error if fared else 0,
        failed=fared.failed if fared else 0,
        skipped=fared.skipped if fared else 0,
        error_ratio=fared.error_ratio if fared else None,
        per_minute=round(fared.ended / minutes, 3) if fared else 0.0,
        p50_ms=fared.p50_ms if fared else None,
        p95_ms=fared.p95_ms if fared else None,
        p99_ms=fared.p99_ms if fared else None,
        max_ms=fared.max_ms if fared else None,
        running=open_.running if open_ else 0,
        queued=open_.queued if open_ else 0,
        stalled=stalled,
        failing_documents=broken.documents if broken else 0,
        can_be_retried=broken.can_be_retried if broken else 0,
        failing_since=broken.failing_since if broken else None,
        last_error=error.template if error else None,
        last_error_group=error.group_id if error else None,
        last_error_at=error.last_seen if error else None,
    )


def _verdicts(
    store: Store, pipeline: str | None, step_name: str | None
) -> dict[tuple[str, str], tuple[str, str, datetime]]:
    rows = ask(
        store,
        "step_verdicts",
        {**scope(pipeline, store), "any_step": step_name is None, "step_name": step_name or ""},
    )
    return {
        (row["pipeline"], row["step_name"]): (
            row["status"],
            row["sentence"],
            datetime.fromtimestamp(row["since_ms"] / 1000, timezone.utc),
        )
        for row in rows
    }


def _last_errors(
    store: Store, pipeline: str | None, step_name: str | None, span: Between
) -> dict[tuple[str, str], ErrorGroup]:
    """The group of each step's latest error, of those with most errors."""
    groups = error_groups(store, pipeline, step_name, since=span.since - timedelta(hours=1), limit=200)
    latest: dict[tuple[str, str], ErrorGroup] = {}
    for group in sorted(groups, key=lambda group: group.last_seen):
        latest[group.pipeline, group.step_name] = group
    return latest
