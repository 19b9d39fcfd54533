"""Prometheus metrics of an alerting consumer."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client import generate_latest as _exposition

from steptrail.consumers.alerts.delivery.worker import Outcome
from steptrail.consumers.alerts.model.engine import Held
from steptrail.consumers.alerts.topics import Board


class AlertsMetrics:
    """Every name begins with `steptrail_alerts`."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        name = "steptrail_alerts"
        self.firing = Gauge(f"{name}_firing", "Firing alerts by severity", ["severity"], registry=registry)
        self.held = Gauge(
            f"{name}_held", "Firing alerts held back by a silence or another alert", ["by"], registry=registry
        )
        self.sending = Gauge(
            f"{name}_notifications_waiting", "Notifications in flight", ["target"], registry=registry
        )
        self.notifications = Counter(
            f"{name}_notifications",
            "Notifications delivered, or given up as dead",
            ["target", "outcome"],
            registry=registry,
        )
        self.attempts = Counter(
            f"{name}_attempts",
            "Requests sent for delivered and dead notifications",
            ["target"],
            registry=registry,
        )
        self.dead = Gauge(
            f"{name}_target_dead",
            "1 after a notification to the target died, until one is delivered",
            ["target"],
            registry=registry,
        )
        self.config_valid = Gauge(
            f"{name}_config_valid", "0 while the alerts file is invalid", registry=registry
        )
        self.active = Gauge(
            f"{name}_active",
            "1 in the active member of the group, 0 in the standbys",
            registry=registry,
        )
        self.verdicts = Gauge(
            f"{name}_verdicts_read", "Verdicts read since the last assignment", registry=registry
        )
        self.faults = Counter(
            f"{name}_faults",
            "Attempts that failed because Kafka or ClickHouse was unavailable",
            registry=registry,
        )
        self.running = Gauge(
            f"{name}_running", "1 while the consumer runs, 0 while it waits", registry=registry
        )

    def show(self, board: Board, held: Mapping[str, Held], dead: Collection[str]) -> None:
        """Set the gauges from the current state."""
        for severity in ("WARNING", "CRITICAL", "UNKNOWN"):
            firing = sum(a.firing and a.severity.value == severity for a in board.alerts.values())
            self.firing.labels(severity).set(firing)
        self.held.labels("silence").set(sum(each.silence for each in held.values()))
        self.held.labels("alert").set(sum(not each.silence for each in held.values()))
        self.dead.clear()
        for name in dead:
            self.dead.labels(name).set(1)
        self.sending.clear()
        for sent in board.sending.values():
            self.sending.labels(sent.target).inc()

    def ended(self, outcome: Outcome) -> None:
        """Count a delivered or dead notification."""
        target = outcome.notification.target
        self.notifications.labels(target, "delivered" if outcome.delivered else "dead").inc()
        self.attempts.labels(target).inc(outcome.attempts)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return _exposition(self.registry)
