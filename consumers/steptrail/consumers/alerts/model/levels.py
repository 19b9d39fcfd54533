"""From what is known to what should fire: verdicts and error groups as levels. No clock, no memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from steptrail.consumers.alerts.model.alert import (
    ERROR_GROUP,
    MAX_SENTENCE,
    TARGET,
    BadAlert,
    alert_id,
    loaded,
    rfc3339,
    seconds,
)
from steptrail.consumers.health.rules.status import HealthStatus

PARTS = "parts"
"""The rule of a whole that is not well because of its parts."""


@dataclass(frozen=True)
class Level:
    """Something that is wrong now. `subject` tells several of one kind apart; times in seconds since the epoch.

    `evidence_at`: when the sentence was so, None where it does not say. `examples`: documents that it is about, None
    while that is not known.
    """

    pipeline: str
    step: str
    kind: str
    severity: HealthStatus
    sentence: str
    since: float
    subject: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    evidence_at: float | None = None
    examples: tuple[str, ...] | None = None

    @property
    def id(self) -> str:
        """The id of its alert."""
        return alert_id(self.pipeline, self.step, self.kind, self.subject)


def levels_of(value: bytes) -> tuple[Level, ...]:
    """What is wrong by a verdict on the health topic. Raises BadAlert for a record that is none.

    Each finding that counts and is not HEALTHY is a level; of several with one id, the first, which is the
    heaviest.
    """
    verdict = loaded(value)
    try:
        pipeline, step = verdict["pipeline"] or "", verdict["step"] or ""
        status, since = HealthStatus(verdict["status"]), _time(verdict["since"])
        at = verdict.get("at")
        # As an alert on the topic will have it, so that the same is the same.
        evidence_at = None if at is None else seconds(rfc3339(_time(at)))
        levels: dict[str, Level] = {}
        for finding in verdict["findings"]:
            level = _level(pipeline, step, finding, since, evidence_at)
            if level is not None:
                levels.setdefault(level.id, level)
        if status is not HealthStatus.HEALTHY and not verdict["findings"]:
            level = Level(
                pipeline, step, "health", status, _cut(verdict["sentence"]), since, evidence_at=evidence_at
            )
            levels[level.id] = level
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadAlert(f"is not a verdict: {type(error).__name__}: {error}"[:300]) from None
    return tuple(levels.values())


def _level(
    pipeline: str, step: str, finding: Mapping[str, Any], since: float, evidence_at: float | None
) -> Level | None:
    status = HealthStatus(finding["status"])
    if status is HealthStatus.HEALTHY or finding.get("silenced"):
        return None
    began = finding.get("since")
    rule = finding["rule"]
    if not isinstance(rule, str) or not isinstance(pipeline, str) or not isinstance(step, str):
        raise TypeError("a name is not a text")
    subject = str((finding.get("data") or {}).get("measure", "")) if rule == "thresholds" else ""
    labels = {"measure": subject} if subject else {}
    return Level(
        pipeline,
        step,
        rule,
        status,
        _cut(finding["sentence"]),
        since if began is None else _time(began),
        subject,
        labels,
        evidence_at,
    )


def group_level(
    group_id: str, pipeline: str, step: str, error_type: str, template: str, state: str, since: float
) -> Level:
    """An error group that is NEW or REGRESSED. `since`: when it was seen first, or again."""
    told = "a new kind of error" if state == "NEW" else "an error that was gone is back"
    return Level(
        pipeline,
        step,
        ERROR_GROUP,
        HealthStatus.WARNING,
        _cut(f"{told}: {error_type}: {template}"),
        since,
        group_id,
        {"group_id": group_id, "error_type": error_type[:200], "group_state": state},
    )


def target_level(name: str, why: str, since: float) -> Level:
    """A target that takes no notifications."""
    sentence = _cut(f"the alert target {name} takes no notifications: {why}")
    return Level("", "", TARGET, HealthStatus.CRITICAL, sentence, since, name, {"target": name})


def wanted(
    verdicts: Iterable[Iterable[Level]], others: Iterable[Level] = (), *, of_pipelines: bool = False
) -> dict[str, Level]:
    """What should fire, by alert id.

    That a whole is ill because of its parts is told by the alerts of the parts; with `of_pipelines` a pipeline has
    an alert of its own for it (which holds back those of its steps).
    """
    found: dict[str, Level] = {}
    for verdict in verdicts:
        for level in verdict:
            if level.kind != PARTS or (of_pipelines and level.pipeline):
                found[level.id] = level
    for level in others:
        found.setdefault(level.id, level)
    return found


def _cut(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError("a sentence is not a text")
    return text if len(text) <= MAX_SENTENCE else text[: MAX_SENTENCE - 1] + "…"


def _time(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("a time is not finite")
    return number
