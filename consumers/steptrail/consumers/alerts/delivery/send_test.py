"""A test alert for one target, sent once and not recorded."""

from __future__ import annotations

from steptrail.consumers.alerts.delivery.http_post import Answer
from steptrail.consumers.alerts.delivery.target import ALERTMANAGER, Target
from steptrail.consumers.alerts.delivery.worker import send
from steptrail.consumers.alerts.model.alert import Alert, alert_id, episode_id
from steptrail.consumers.alerts.model.notification import notification
from steptrail.consumers.health.rules.status import HealthStatus

KIND = "test"


def try_target(target: Target, now: float) -> Answer:
    """Send a test alert and return the answer; `now` in seconds since the epoch. For an Alertmanager, also resolve
    it.
    """
    one = alert_id("", "", KIND, target.name)
    alert = Alert(
        id=one,
        episode=episode_id(one, now, None),
        pipeline="",
        step="",
        severity=HealthStatus.WARNING,
        kind=KIND,
        sentence="this is a test of steptrail's alerts; nothing is wrong",
        since=now,
        fired_at=now,
    )
    answer = send(target, notification(target.name, KIND, [alert], now), now)
    if answer.delivered and target.type == ALERTMANAGER:
        return send(target, notification(target.name, KIND, [alert.resolved(now)], now), now)
    return answer
