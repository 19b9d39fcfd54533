"""What is failing, what is in progress, how steps fare."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Final

from steptrail.consumers.health.check import HealthCheck
from steptrail.consumers.web.limited_store import Lane, lane
from steptrail.consumers.web.models import work
from steptrail.consumers.web.models.common import shown
from steptrail.consumers.web.service.now import Now, Step, steps_of
from steptrail.consumers.web.spans import Between
from steptrail.consumers.web.workers import side_by_side
from steptrail.projections.clickhouse.queries import Store, ask, scope
from steptrail.projections.reading.failing import failing, failing_counts
from steptrail.projections.reading.in_progress import in_progress, in_progress_counts
from steptrail.projections.reading.throughput import (
    Throughput,
    duration_histogram,
    judged_until,
    throughput_series,
    throughput_totals,
    waits,
)
from steptrail.projections.stores.error_groups import ErrorGroup, GroupList, GroupState, error_groups
from steptrail.schemas.status import ProcessingStatus

_HEALTH_ORDER: Final = ("CRITICAL", "WARNING", "UNKNOWN", "HEALTHY")
_CHANGED: Final = (GroupState.NEW, GroupState.REGRESSED)
_CHANGED_LISTED: Final = 10
_GROUPS_LISTED: Final = 200


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
        items=[work.FailingStep.model_validate(each) for each in page.items], next=shown(page.next)
    )


def failing_counts_answer(
    store: Store, pipeline: str | None, step_name: str | None, span: Between
) -> work.FailingCountsAnswer:
    """How many documents are failing now."""
    with lane(Lane.COUNTING):
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
    with lane(Lane.LONG):
        page = in_progress(
            store, pipeline, step_name, statuses=statuses, only_stalled=only_stalled, after=after, limit=limit
        )
    return work.InProgressAnswer(
        items=[work.OpenStep.model_validate(each) for each in page.items], next=shown(page.next)
    )


def in_progress_counts_answer(
    store: Store, pipeline: str | None, step_name: str | None
) -> work.InProgressCountsAnswer:
    """How much runs and waits now."""
    with lane(Lane.COUNTING):
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
    store: Store, now: Now, pipeline: str | None, step_name: str | None, span: Between
) -> work.StepsAnswer:
    """Every step, how it fared within the span, and how it is now."""
    totals, errors, until = side_by_side(
        lambda: throughput_totals(store, pipeline, step_name, span.since, span.until),
        lambda: _last_errors(_groups_lately(store, pipeline, step_name, span)),
        lambda: judged_until(store),
    )
    return work.StepsAnswer(
        as_of=now.freshness.as_of,
        behind_seconds=now.freshness.behind_seconds,
        behind_events=now.freshness.behind_events,
        since=span.since,
        until=span.until,
        counted_until=until,
        items=_rows(now, totals, errors, step_name, span),
    )


def overview_answer(
    store: Store, now: Now, check: Callable[[], HealthCheck], pipeline: str | None, span: Between
) -> work.OverviewAnswer:
    """Everything that the first page shows."""
    totals, lately, until, series, health = side_by_side(
        lambda: throughput_totals(store, pipeline, None, span.since, span.until),
        lambda: _groups_lately(store, pipeline, None, span),
        lambda: judged_until(store),
        lambda: throughput_series(store, pipeline, None, span.since, span.until),
        check,
    )
    rows = _rows(now, totals, _last_errors(lately), None, span)
    changed, changed_more = _changed(store, pipeline, span, lately)
    return work.OverviewAnswer(
        as_of=now.freshness.as_of,
        behind_seconds=now.freshness.behind_seconds,
        behind_events=now.freshness.behind_events,
        since=span.since,
        until=span.until,
        health=health.status.value,
        health_sentence=health.sentence,
        health_since=None if health.since is None else datetime.fromtimestamp(health.since, timezone.utc),
        counted_until=until,
        failing_documents=sum(row.failing_documents for row in rows),
        can_be_retried=sum(row.can_be_retried for row in rows),
        running=sum(row.running for row in rows),
        queued=sum(row.queued for row in rows),
        stalled=sum(row.stalled for row in rows),
        changed=[work.Changed.model_validate(group, extra="ignore") for group in changed],
        changed_more=changed_more,
        steps=rows,
        bucket_seconds=series.bucket_seconds,
        series=[work.Point.model_validate(each) for each in series.points],
    )


def _rows(
    now: Now,
    totals: Sequence[Throughput],
    errors: Mapping[Step, ErrorGroup],
    step_name: str | None,
    span: Between,
) -> list[work.StepRow]:
    fared = {(each.pipeline, each.step_name): each for each in totals}
    rows = [
        _row(key, span, now, fared.get(key), errors.get(key)) for key in steps_of(now, list(fared), step_name)
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
    key: Step, span: Between, now: Now, fared: Throughput | None, error: ErrorGroup | None
) -> work.StepRow:
    minutes = max(span.seconds / 60, 1.0)
    broken, open_, verdict = now.failing.get(key), now.open.get(key), now.verdicts.get(key)
    return work.StepRow(
        pipeline=key[0],
        step_name=key[1],
        health=verdict.status if verdict else "UNKNOWN",
        sentence=verdict.sentence if verdict else None,
        health_since=datetime.fromtimestamp(verdict.since, timezone.utc) if verdict else None,
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
        stalled=now.stalled.get(key, 0),
        failing_documents=broken.documents if broken else 0,
        can_be_retried=broken.can_be_retried if broken else 0,
        failing_since=broken.failing_since if broken else None,
        last_error=error.template if error else None,
        last_error_group=error.group_id if error else None,
        last_error_at=error.last_seen if error else None,
    )


def _groups_lately(store: Store, pipeline: str | None, step_name: str | None, span: Between) -> GroupList:
    """The groups with most errors since an hour before the span: groups are kept by the hour."""
    return error_groups(
        store, pipeline, step_name, since=span.since - timedelta(hours=1), limit=_GROUPS_LISTED
    )


def _last_errors(lately: GroupList) -> dict[Step, ErrorGroup]:
    """The group of each step's latest error, of those with most errors."""
    latest: dict[Step, ErrorGroup] = {}
    for group in sorted(lately, key=lambda group: group.last_seen):
        latest[group.pipeline, group.step_name] = group
    return latest


def _changed(
    store: Store, pipeline: str | None, span: Between, lately: GroupList
) -> tuple[Sequence[ErrorGroup], int]:
    """The new and regressed groups with most errors within the span, and how many there are besides."""
    if lately.other_groups:
        found = error_groups(store, pipeline, states=_CHANGED, since=span.since, limit=_CHANGED_LISTED)
        return found.items, found.other_groups - found.not_looked_at
    since = span.since.replace(minute=0, second=0, microsecond=0)
    changed = [group.since(since) for group in lately if group.state in _CHANGED]
    changed = sorted((group for group in changed if group.lately), key=lambda g: (-g.lately, g.group_id))
    return changed[:_CHANGED_LISTED], len(changed[_CHANGED_LISTED:])
