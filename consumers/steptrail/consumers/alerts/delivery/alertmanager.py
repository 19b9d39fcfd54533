"""Requests to an Alertmanager, API v2.

Alertmanager knows an alert by its labels and forgets it at `endsAt`: what fires is sent again and again, with an
end some way ahead, so that a steptrail that is gone for good leaves nothing firing there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from steptrail.consumers.alerts.delivery.http_post import Answer, post
from steptrail.consumers.alerts.delivery.target import Target
from steptrail.consumers.alerts.model.alert import Alert, rfc3339
from steptrail.consumers.alerts.model.notification import Notification

ENDS_AFTER = 4
"""An alert ends at Alertmanager after so many times `resend` without word of it."""


def send_alerts(target: Target, told: Notification, now: float) -> Answer:
    """Send one notification. `now`: seconds since the epoch, of this attempt."""
    path = urlsplit(target.url).path.rstrip("/") + "/api/v2/alerts"
    headers = {"Content-Type": "application/json", "User-Agent": "steptrail", **target.headers}
    return post(target, path, headers, orjson.dumps(payload(target, told, now)))


def payload(target: Target, told: Notification, now: float) -> list[dict[str, Any]]:
    """The body."""
    return [_alert(target, alert, now) for alert in told.alerts]


def labels_of(target: Target, alert: Alert) -> Mapping[str, str]:
    """What Alertmanager knows the alert by; empty ones are left out, as it does itself."""
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


def _alert(target: Target, alert: Alert, now: float) -> dict[str, Any]:
    starts = min(alert.since, now)
    # An alert that ends before it starts is refused, and one that ends ahead of now still fires.
    ends = now + ENDS_AFTER * target.resend if alert.firing else max(starts, now - 1.0)
    return {
        "labels": labels_of(target, alert),
        "annotations": {"summary": alert.sentence, "scope": alert.scope, "episode": alert.episode},
        "startsAt": rfc3339(starts),
        "endsAt": rfc3339(ends),
    }
