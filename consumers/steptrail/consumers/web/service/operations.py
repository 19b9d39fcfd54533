"""Error groups, health, alerts, losses, dead letters and lag."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import datetime, timezone
from pathlib import Path

from steptrail.consumers.alerts.config.config import AlertsConfig
from steptrail.consumers.alerts.model.policy import AlertPolicy
from steptrail.consumers.alerts.model.silence import Silence
from steptrail.consumers.alerts.overview import Shown, overview
from steptrail.consumers.alerts.topics import Board
from steptrail.consumers.health.check import HealthCheck, HealthCheckManager
from steptrail.consumers.loop.lag import projector_lag
from steptrail.consumers.web.models import operations
from steptrail.consumers.web.problems import ProblemError
from steptrail.consumers.web.spans import Between
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.pages import BadCursor, bad_cursor, seal, unseal
from steptrail.projections.clickhouse.queries import Store, ask, scope
from steptrail.projections.reading.emitters import emitters
from steptrail.projections.reading.losses import losses_by_worker
from steptrail.projections.reading.throughput import judged_until
from steptrail.projections.stores.dead_letter_store import (
    DeadLetterStore,
    LetterPlace,
    Selection,
)
from steptrail.projections.stores.error_groups import GroupDetails, GroupState, error_group, error_groups
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import SteptrailError
from steptrail.schemas.topics import Topics


def groups_answer(
    store: Store,
    pipeline: str | None,
    step_name: str | None,
    states: Collection[GroupState],
    span: Between,
    limit: int,
) -> operations.GroupsAnswer:
    """Error groups that had errors within the span."""
    found = error_groups(store, pipeline, step_name, states=states, since=span.since, limit=limit)
    return operations.GroupsAnswer(
        since=span.since,
        judged_until=judged_until(store),
        other_groups=found.other_groups,
        other_errors=found.other_errors,
        items=[_group(GroupDetails(group, (), ())) for group in found],
    )


def group_answer(
    store: Store, group_id: str, span: Between, pipelines: Collection[str] | None
) -> operations.GroupAnswer:
    """One error group. Raises UnknownGroup, and ProblemError (404) for one that may not be seen."""
    return group_details(error_group(store, group_id, since=span.since), pipelines)


def group_details(details: GroupDetails, pipelines: Collection[str] | None) -> operations.GroupAnswer:
    """The same, of a group that was looked up."""
    if pipelines is not None and details.group.pipeline not in pipelines:
        raise ProblemError(404, "not_found", "there is no such error group")
    return operations.GroupAnswer(
        group=_group(details),
        examples=[operations.GroupExample.model_validate(each, extra="ignore") for each in details.examples],
        actions=[operations.TakenAction.model_validate(each) for each in details.actions],
    )


def health_answer(check: HealthCheck, store: Store, pipeline: str | None) -> operations.HealthAnswer:
    """A health check, with the latest verdicts of all steps where the store has them."""
    try:
        rows = ask(store, "step_verdicts", {**scope(pipeline, store), "any_step": True, "step_name": ""})
    except SteptrailError:
        rows = []  # the check says that the store is away
    return operations.HealthAnswer(
        status=check.status.value,
        sentence=check.sentence,
        pipeline=check.pipeline,
        step_name=check.step,
        since=utc(check.since),
        until=utc(check.until),
        checked_at=datetime.fromtimestamp(check.checked_at, timezone.utc),
        findings=[
            operations.FindingRow(
                rule=each.rule,
                status=each.status.value,
                sentence=each.sentence,
                since=utc(each.since),
                data=dict(each.data),
                silenced=each.silenced,
            )
            for each in check.findings
        ],
        verdicts=[
            operations.VerdictRow(
                pipeline=row["pipeline"],
                step_name=row["step_name"],
                status=row["status"],
                since=_ms(row["since_ms"]),
                at=_ms(row["at_ms"]),
                sentence=row["sentence"],
            )
            for row in rows
        ],
    )


def check_health(manager: HealthCheckManager, pipeline: str | None, step_name: str | None) -> HealthCheck:
    """How it is. Raises ProblemError (400) for a step without its pipeline."""
    if step_name is not None and pipeline is None:
        raise ProblemError(400, "bad_request", f"step {step_name[:100]!r} of which pipeline? Name that too.")
    return manager.perform_health_check(pipeline, step_name)


def policy_of(settings: Settings) -> AlertPolicy:
    """What the alerts file says of routes; without one, or with one that cannot be read here, nothing."""
    if settings.alerts_file is None:
        return AlertPolicy()
    try:
        return AlertsConfig.load(Path(settings.alerts_file).expanduser()).policy
    except SteptrailError:
        return AlertPolicy()


def alerts_answer(
    board: Board, policy: AlertPolicy, pipeline: str | None, resolved: bool, pipelines: Collection[str] | None
) -> operations.AlertsAnswer:
    """Alerts that fire, with `resolved` also those that ended lately."""
    shown = overview(board, policy, time.time(), resolved=resolved)
    return operations.AlertsAnswer(
        items=[
            _alert(each)
            for each in shown
            if (pipeline is None or each.alert.pipeline == pipeline)
            and (pipelines is None or each.alert.pipeline in pipelines)
        ]
    )


def silences_answer(
    board: Board, everything: bool, pipelines: Collection[str] | None = None
) -> operations.SilencesAnswer:
    """Silences that hold, or all that are still known; `pipelines`: only those that name one of these."""
    now = time.time()
    found = [
        each
        for each in board.silences.values()
        if (everything or each.ends > now) and (pipelines is None or each.pipeline in pipelines)
    ]
    found.sort(key=lambda each: (each.ends, each.id))
    return operations.SilencesAnswer(items=[silence_row(each) for each in found])


def silence_row(silence: Silence) -> operations.SilenceRow:
    """A silence as it is shown."""
    return operations.SilenceRow(
        id=silence.id,
        pipeline=silence.pipeline,
        step_name=silence.step,
        kind=silence.kind,
        starts_at=datetime.fromtimestamp(silence.starts, timezone.utc),
        ends_at=datetime.fromtimestamp(silence.ends, timezone.utc),
        holds=silence.holds_at(time.time()),
        reason=silence.reason,
        by=silence.by,
    )


def losses_answer(
    store: Store, letters: DeadLetterStore, pipeline: str | None, span: Between, everyone: bool, limit: int
) -> operations.LossesAnswer:
    """What was lost, by worker."""
    found = losses_by_worker(store, pipeline, span.since, limit, everyone=everyone)
    selection = Selection(pipelines=() if pipeline is None else (pipeline,))
    return operations.LossesAnswer(
        since=span.since,
        missing=sum(each.missing for each in found),
        dropped=sum(each.dropped for each in found),
        failed=sum(each.failed for each in found),
        dead_letters_open=sum(letters.count(selection).values()),
        items=[operations.WorkerLosses.model_validate(each) for each in found],
    )


def emitters_answer(
    store: Store, pipeline: str | None, span: Between, limit: int, only_off: bool
) -> operations.EmittersAnswer:
    """Emitters that were heard of within the span."""
    found = emitters(store, pipeline, span.since, limit, only_off=only_off)
    return operations.EmittersAnswer(items=[operations.EmitterRow.model_validate(each) for each in found])


def letter_store(clickhouse: ClickHouse, settings: Settings) -> DeadLetterStore:
    """The letters of the settings' steps topic."""
    topics = Topics(settings.topic_prefix)
    return DeadLetterStore(clickhouse, topic=topics.steps.name, dlq_topic=topics.dlq.name)


def letters_answer(
    letters: DeadLetterStore, selection: Selection, after: LetterPlace | None, limit: int
) -> operations.DeadLettersAnswer:
    """A page of dead letters."""
    found = letters.letters(selection, limit=limit + 1, after=after)
    by_reason = letters.count(selection)
    shown = found[:limit]
    return operations.DeadLettersAnswer(
        letters=sum(by_reason.values()),
        by_reason=by_reason,
        items=[
            operations.DeadLetter.model_validate(
                {**each.as_dict(), "place": each.shown_place}, extra="ignore"
            )
            for each in shown
        ],
        next=letter_cursor(shown[-1].letter_place) if len(found) > limit else None,
    )


def lag_answer(settings: Settings) -> operations.LagAnswer:
    """How far the projection is behind, by partition."""
    # The metrics port of the settings is that of this process.
    report = projector_lag(settings.with_values(metrics_port=None), timeout=1.2)
    return operations.LagAnswer(
        topic=report.topic,
        group=report.group,
        group_state=report.group_state,
        waiting_for=report.waiting_for,
        problems=list(report.problems),
        partitions=[operations.PartitionRow.model_validate(each) for each in report.partitions],
    )


def letter_cursor(place: LetterPlace) -> str:
    """A place in the dead-letter topic, as `letter_after` takes it."""
    return seal("/".join(map(str, place)).encode())


def letter_after(cursor: str) -> LetterPlace:
    """What `letter_cursor` made. Raises BadCursor."""
    try:
        topic_id, partition, offset = unseal(cursor).decode().rsplit("/", 2)  # an id may hold one, too
        place = topic_id, int(partition), int(offset)
        if not (0 <= place[1] < 2**31 and 0 <= place[2] < 2**63):
            raise ValueError("no such place")
        return place
    except (UnicodeDecodeError, ValueError) as error:
        if isinstance(error, BadCursor):
            raise
        raise bad_cursor(cursor, "it is of another kind of page") from None


def _group(details: GroupDetails) -> operations.Group:
    group = details.group
    trend = [operations.TrendPoint(begins=begins, count=count) for begins, count in group.trend]
    fields = {name: getattr(group, name) for name in operations.Group.model_fields if name != "trend"}
    return operations.Group(**fields, trend=trend)


def _alert(shown: Shown) -> operations.AlertRow:
    alert, held = shown.alert, shown.held
    return operations.AlertRow(
        id=alert.id,
        episode=alert.episode,
        pipeline=alert.pipeline,
        step_name=alert.step,
        kind=alert.kind,
        severity=alert.severity.value,
        status=alert.status,
        sentence=alert.sentence,
        since=datetime.fromtimestamp(alert.since, timezone.utc),
        fired_at=datetime.fromtimestamp(alert.fired_at, timezone.utc),
        ended_at=utc(alert.ended_at),
        evidence_at=utc(alert.evidence_at),
        owner=alert.owner,
        labels=dict(alert.labels),
        examples=list(alert.examples),
        link=alert.link,
        held=None
        if held is None
        else operations.HeldBy(by=held.by, silence=bool(held.silence), until=utc(held.until)),
        told=[
            operations.ToldRow(
                target=each.target,
                status=each.status,
                severity=each.severity.value,
                at=datetime.fromtimestamp(each.at, timezone.utc),
                sure=each.sure,
            )
            for each in shown.told
        ],
        waiting=list(shown.waiting),
    )


def utc(seconds: float | None) -> datetime | None:
    """Seconds since the epoch as a time."""
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)


def _ms(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
