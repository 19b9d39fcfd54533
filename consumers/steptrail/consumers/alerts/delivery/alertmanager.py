"""Requests to an Alertmanager, API v2.

Alertmanager identifies an alert by its labels and drops it at `endsAt`: a firing alert is resent periodically with an
end in the near future, so that a steptrail that is gone leaves nothing firing there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from steptrail.consumers.alerts.delivery.chat_text import cut, plain
from steptrail.consumers.alerts.delivery.http_post import Answer, post, together
from steptrail.consumers.alerts.delivery.target import Target
from steptrail.consumers.alerts.delivery.templates import MOST_SHORTER
from steptrail.consumers.alerts.model.alert import MAX_SENTENCE, Alert, rfc3339
from steptrail.consumers.alerts.model.notification import Notification

ENDS_AFTER = 4
"""An alert ends at Alertmanager after so many times `resend` without word of it."""

MOST_ALERTS = 64
MOST_BYTES = 500_000
"""Of one request: what stands before an Alertmanager often takes a megabyte."""


def send_alerts(target: Target, told: Notification, now: float, shorter: int = 0) -> Answer:
    """Send one notification, in as many requests as needed; returns the last answer, or the first refusal.

    `now`: time of this attempt, seconds since the epoch. `shorter`: how often it was refused for its size.
    """
    path = urlsplit(target.url).path.rstrip("/") + "/api/v2/alerts"
    headers = {"Content-Type": "application/json", "User-Agent": "steptrail", **target.headers}
    answers = (post(target, path, headers, body) for body in bodies(target, told, now, shorter))
    return together(answers, last=shorter >= MOST_SHORTER)


def bodies(target: Target, told: Notification, now: float, shorter: int = 0) -> list[bytes]:
    """The requests' bodies: at most as many alerts in each as Prometheus sends to Alertmanager."""
    most = target.most_bytes or MOST_BYTES
    whole = payload(target, told, now, MAX_SENTENCE >> shorter)
    batch = max(1, MOST_ALERTS >> shorter)
    return [body for at in range(0, len(whole), batch) for body in _split(whole[at : at + batch], most)]


def _split(alerts: list[dict[str, Any]], most: int) -> list[bytes]:
    body = orjson.dumps(alerts)
    if len(body) <= most:
        return [body]
    if len(alerts) > 1:
        half = len(alerts) // 2
        return _split(alerts[:half], most) + _split(alerts[half:], most)
    # Labels identify the alert: only annotations can be shortened.
    annotations: dict[str, str] = alerts[0]["annotations"]
    while len(body) > most and len(annotations.get("summary", "")) > 1:
        annotations["summary"] = cut(annotations["summary"], len(annotations["summary"]) // 2)
        body = orjson.dumps(alerts)
    return [body]


def payload(
    target: Target, told: Notification, now: float, sentence: int = MAX_SENTENCE
) -> list[dict[str, Any]]:
    """Every alert, with a sentence of at most `sentence` characters."""
    return [_alert(target, alert, now, sentence) for alert in told.alerts]


def labels_of(target: Target, alert: Alert) -> Mapping[str, str]:
    """The labels that identify the alert in Alertmanager; empty ones are omitted, as Alertmanager does itself."""
    labels = {
        **target.labels,
        **alert.labels,
        "alertname": f"steptrail_{alert.kind}",
        "alert_id": alert.id,
        "pipeline": alert.pipeline,
        "step": alert.step,
        "kind": alert.kind,
        "severity": alert.severity.value.lower(),
        "owner": alert.owner,
    }
    return {name: value for name, value in labels.items() if value}


def _alert(target: Target, alert: Alert, now: float, sentence: int) -> dict[str, Any]:
    starts = min(alert.since, now)
    # Alertmanager rejects an alert that ends before it starts, and one that ends in the future still fires.
    ends = now + ENDS_AFTER * target.resend if alert.firing else max(starts, now - 1.0)
    annotations = {
        "summary": cut(plain(alert.sentence), sentence),
        "scope": alert.scope,
        "episode": alert.episode,
        "evidence_at": "" if alert.evidence_at is None else rfc3339(alert.evidence_at),
        "examples": ", ".join(cut(plain(example), 200) for example in alert.examples),
    }
    told: dict[str, Any] = {
        "labels": labels_of(target, alert),
        "annotations": {name: value for name, value in annotations.items() if value},
        "startsAt": rfc3339(starts),
        "endsAt": rfc3339(ends),
    }
    if alert.link:
        told["generatorURL"] = alert.link
    return told
