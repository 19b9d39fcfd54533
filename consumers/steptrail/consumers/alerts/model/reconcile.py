"""What must be published so that the topic of alerts says what should fire. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from steptrail.consumers.alerts.model.alert import Alert, episode_id
from steptrail.consumers.alerts.model.levels import Level

KEPT_S = 7 * 86_400.0
"""So long a resolved alert stays on the topic, for consumers that were away and for people who look."""

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
) -> list[Alert]:
    """The alerts whose records change, oldest trouble first.

    The same levels against what this returned, published, is nothing: a restart or a replay says nothing anew.
    `unknown` alerts are left as they are, since nothing is known about what they are about.
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
            examples=level.examples or said.examples,
            link=link(level),
        )
        if alert != before:
            changes.append(alert)
    changes += [
        before.resolved(max(before.since, now))
        for before in published.values()
        if before.firing and before.id not in wanted and not unknown(before)
    ]
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


def forgettable(published: Mapping[str, Alert], *, now: float) -> list[str]:
    """Ids of alerts that ended long ago."""
    return [
        alert.id
        for alert in published.values()
        if alert.ended_at is not None and max(alert.ended_at, alert.fired_at) + KEPT_S < now
    ]
