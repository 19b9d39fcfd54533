"""What must be published so that the topic of alerts says what should fire. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from steptrail.consumers.alerts.model.alert import ERROR_GROUP, Alert, episode_id
from steptrail.consumers.alerts.model.levels import Level

KEPT_S = 7 * 86_400.0
"""So long a resolved alert stays on the topic, for consumers that were away and for people who look."""

ERASED_SENTENCE = "an error whose text was erased"


@dataclass(frozen=True, slots=True)
class Erased:
    """What is not to be named any more: documents as (pipeline, id), and error groups that are no more, by id."""

    documents: frozenset[tuple[str, str]] = frozenset()
    groups: frozenset[str] = frozenset()


NOTHING_ERASED = Erased()

Ownership = Callable[[str, str], "tuple[str, Mapping[str, str]]"]
"""Owner and labels of a (pipeline, step)."""


def difference(
    wanted: Mapping[str, Level],
    published: Mapping[str, Alert],
    *,
    now: float,
    ownership: Ownership,
    unknown: Callable[[Alert], bool] = lambda _: False,
    link: Callable[[Level], str] = lambda _: "",
    erased: Erased = NOTHING_ERASED,
) -> list[Alert]:
    """The alerts whose records change, oldest trouble first.

    The same levels against what this returned, published, is nothing: a restart or a replay says nothing anew.
    `unknown` alerts are left as they are, since nothing is known about what they are about, but for what was `erased`.
    """
    changes = []
    for level in wanted.values():
        before = published.get(level.id)
        owner, labels = ownership(level.pipeline, level.step)
        said = _said(level, before, now)
        alert = replace(
            said,
            owner=owner,
            labels={**labels, **level.labels},
            evidence_at=level.evidence_at,
            # What was found once is still an example when it cannot be asked for.
            examples=said.examples if level.examples is None else level.examples,
            link=link(level),
        )
        alert = without_erased(alert, erased)
        if alert != before:
            changes.append(alert)
    for before in published.values():
        if before.id in wanted:
            continue
        ends = before.firing and not unknown(before)
        alert = without_erased(before.resolved(max(before.since, now)) if ends else before, erased)
        if alert != before:
            changes.append(alert)
    return sorted(changes, key=lambda alert: (alert.since, alert.id))


def _said(level: Level, before: Alert | None, now: float) -> Alert:
    if before is not None and before.firing:
        return replace(before, severity=level.severity, sentence=level.sentence)
    return Alert(
        id=level.id,
        episode=episode_id(level.id, level.since, before),
        pipeline=level.pipeline,
        step=level.step,
        severity=level.severity,
        kind=level.kind,
        sentence=level.sentence,
        since=level.since,
        fired_at=now,
    )


def without_erased(alert: Alert, erased: Erased) -> Alert:
    """The same without what was erased. A group that is no more has no template that it could be known by."""
    examples = tuple(each for each in alert.examples if (alert.pipeline, each) not in erased.documents)
    gone = alert.kind == ERROR_GROUP and not alert.firing and alert.labels.get("group_id") in erased.groups
    return replace(alert, examples=examples, sentence=ERASED_SENTENCE if gone else alert.sentence)


def forgettable(published: Mapping[str, Alert], *, now: float) -> list[str]:
    """Ids of alerts that ended long ago."""
    return [
        alert.id
        for alert in published.values()
        if alert.ended_at is not None and max(alert.ended_at, alert.fired_at) + KEPT_S < now
    ]
