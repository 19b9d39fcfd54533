"""The records of the topic of notifications: what was delivered to targets, and what is in flight."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from steptrail.consumers.alerts.model.alert import FIRING, RESOLVED, Alert, BadAlert, loaded, rfc3339, seconds
from steptrail.consumers.health.rules.status import HealthStatus

_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class Told:
    """A target's last notification of an alert, `at` (seconds since the epoch), for the episode since `since`.

    Not `sure`: no attempt succeeded, so the target may or may not have received it.
    """

    target: str
    alert: str
    episode: str
    status: str
    severity: HealthStatus
    since: float
    at: float
    sure: bool = True

    @property
    def key(self) -> str:
        """On the topic."""
        return _SEPARATOR.join(("told", self.target, self.alert))

    def to_bytes(self) -> bytes:
        """As the topic has it."""
        times = {"since": rfc3339(self.since), "at": rfc3339(self.at)}
        return orjson.dumps({**vars(self), "severity": self.severity.value, **times})


@dataclass(frozen=True)
class Notification:
    """Alerts sent to a target in one message, as of `made_at` (seconds since the epoch).

    It is on the topic before it is sent and until it is answered, so that the next leader resends exactly the same
    under the same `id`. `group` names what the alerts have in common. A `refresh` has no news and is not stored on the
    topic.
    """

    id: str
    target: str
    group: str
    alerts: tuple[Alert, ...]
    made_at: float
    refresh: bool = False

    @property
    def key(self) -> str:
        """On the topic."""
        return _SEPARATOR.join(("sending", self.target, self.id))

    @property
    def status(self) -> str:
        """Firing while any of its alerts is."""
        return FIRING if any(alert.firing for alert in self.alerts) else RESOLVED

    def told(self, at: float, *, sure: bool) -> list[Told]:
        """The target's state after delivery."""
        return [
            Told(self.target, a.id, a.episode, a.status, a.severity, a.since, at, sure) for a in self.alerts
        ]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "id": self.id,
            "target": self.target,
            "group": self.group,
            "alerts": [alert.as_dict() for alert in self.alerts],
            "made_at": rfc3339(self.made_at),
        }

    def to_bytes(self) -> bytes:
        """As the topic has it."""
        return orjson.dumps(self.as_dict())


def notification(
    target: str, group: str, alerts: Sequence[Alert], made_at: float, *, refresh: bool = False
) -> Notification:
    """Create a notification; its id derives from content, target and time."""
    content = [[alert.episode, alert.status, alert.severity.value] for alert in alerts]
    digest = hashlib.sha256(orjson.dumps([target, group, content, rfc3339(made_at)])).hexdigest()
    return Notification(f"msg_{digest[:32]}", target, group, tuple(alerts), made_at, refresh)


def record_of(key: str, value: bytes) -> Told | Notification:
    """Parse a record of the topic. Raises BadAlert."""
    found = loaded(value)
    try:
        if key.startswith("told" + _SEPARATOR):
            return _told(found)
        return Notification(
            str(found["id"]),
            str(found["target"]),
            str(found["group"]),
            tuple(Alert.from_dict(alert) for alert in found["alerts"]),
            seconds(found["made_at"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadAlert(f"is no record of a notification: {type(error).__name__}: {error}"[:300]) from None


def _told(found: Any) -> Told:
    texts = {name: str(found[name]) for name in ("target", "alert", "episode", "status")}
    return Told(
        texts["target"],
        texts["alert"],
        texts["episode"],
        texts["status"],
        HealthStatus(found["severity"]),
        seconds(found["since"]),
        seconds(found["at"]),
        bool(found["sure"]),
    )


def ended_episode(told: Told, alert: Alert) -> Alert:
    """The end of the episode that a target was notified of, built from `alert`, a later episode."""
    return replace(
        alert,
        episode=told.episode,
        status=RESOLVED,
        severity=told.severity,
        since=told.since,
        ended_at=max(told.since, alert.since),
    )
