"""Prometheus metrics of a health consumer: those of its consume loop, and those of the judging."""

from __future__ import annotations

from typing import Protocol

from prometheus_client import Counter, Gauge

from steptrail.consumers.loop.feed import Leadership
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.projections.reading.health_losses import LossCounts


class _Judging(Protocol):
    @property
    def watermark(self) -> float | None: ...


class HealthMetrics(ProjectorMetrics):
    """Every name begins with `steptrail_health`."""

    def __init__(self) -> None:
        super().__init__("steptrail_health")
        self._active = Gauge(
            "steptrail_health_active",
            "1 in the active member of the group, 0 in the standbys",
            registry=self.registry,
        )
        self._watermark = Gauge(
            "steptrail_health_watermark_timestamp_seconds",
            "Time up to which everything is known and judged, by the broker's clock; 0 while there is none",
            registry=self.registry,
        )
        lost = Counter(
            "steptrail_health_lost_events",
            "Events that were lost since this member judges: dropped by emitters, or missing in their sequences",
            ["kind"],
            registry=self.registry,
        )
        # Both are there from the start: what a counter begins with is no increase for Prometheus.
        self._dropped, self._missing = lost.labels("dropped"), lost.labels("missing")

    def follow(self, judging: _Judging, leadership: Leadership) -> None:
        """Show the state of these from now on."""
        self._active.set_function(lambda: float(leadership.held))
        self._watermark.set_function(lambda: judging.watermark or 0.0)

    def lost_more(self, loss: LossCounts) -> None:
        """Count new losses."""
        self._dropped.inc(loss.dropped)
        self._missing.inc(loss.gaps)
