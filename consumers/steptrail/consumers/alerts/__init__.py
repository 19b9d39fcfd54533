"""Alerting: firing alerts, their notifications, and an iterator for custom alerting consumers.

from steptrail.consumers.alerts import alerts

for alert in alerts(Settings(), group="my-pager"):
    ...
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steptrail.consumers.alerts.iterator import alerts as alerts
    from steptrail.consumers.alerts.model.alert import Alert as Alert
    from steptrail.consumers.alerts.run import run_alerts as run_alerts

__all__ = ["Alert", "alerts", "run_alerts"]

_HOMES = {"Alert": "model.alert", "alerts": "iterator", "run_alerts": "run"}


def __getattr__(name: str) -> Any:
    # Imported on first use: readers of alerts need neither ClickHouse nor a server's libraries.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
