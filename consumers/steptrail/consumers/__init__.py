"""The running services: the consume loop, the projector, health, alerts, dead letters and the web interface."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steptrail.consumers.health.check import HealthCheck as HealthCheck
    from steptrail.consumers.health.check import HealthCheckManager as HealthCheckManager
    from steptrail.consumers.health.rules import HealthStatus as HealthStatus
    from steptrail.consumers.health.run import run_health as run_health
    from steptrail.consumers.loop.freshness import Freshness as Freshness
    from steptrail.consumers.loop.freshness import read_freshness as read_freshness
    from steptrail.consumers.loop.lag import LagReport as LagReport
    from steptrail.consumers.loop.lag import projector_lag as projector_lag
    from steptrail.consumers.projector.run import run_projector as run_projector

__all__ = [
    "Freshness",
    "HealthCheck",
    "HealthCheckManager",
    "HealthStatus",
    "LagReport",
    "projector_lag",
    "read_freshness",
    "run_health",
    "run_projector",
]

_HOMES = {
    "Freshness": "loop.freshness",
    "HealthCheck": "health.check",
    "HealthCheckManager": "health.check",
    "HealthStatus": "health",
    "LagReport": "loop.lag",
    "projector_lag": "loop.lag",
    "read_freshness": "loop.freshness",
    "run_health": "health.run",
    "run_projector": "projector.run",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: each part needs libraries that the others do not.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
