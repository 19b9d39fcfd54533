"""The alerting consumer: reads verdicts and error groups, writes alerts and notifications."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from steptrail.consumers.alerts.config.config import AlertsConfig
from steptrail.consumers.alerts.consumer import AlertingConsumer
from steptrail.consumers.alerts.metrics import AlertsMetrics
from steptrail.consumers.runtime.service import Service
from steptrail.consumers.runtime.status import Status
from steptrail.consumers.runtime.watched_file import WatchedFile
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import ConfigurationError

_log = logging.getLogger("steptrail.consumers.alerts")


def run_alerts(settings: Settings, stop: threading.Event) -> int:
    """Publish alerts and send notifications until `stop` is set, then shut down; returns 0.

    Several may run: one is active, the others stand by. While Kafka is unavailable it waits; without ClickHouse it
    continues. Raises ConfigurationError for a missing or invalid alerts file.
    """
    if settings.alerts_file is None:
        raise ConfigurationError(
            "STEPTRAIL_ALERTS_FILE is not set: name the TOML file that says who is told of what"
        )
    config = watch_config(Path(settings.alerts_file).expanduser())
    status, metrics = Status(), AlertsMetrics()
    with Service(settings, stop, status, metrics, log=_log) as service:
        consumer = AlertingConsumer(settings, config, status, metrics)
        service.run(consumer.run)
    return 0


def watch_config(path: Path, *, clock: Callable[[], float] = time.monotonic) -> WatchedFile[AlertsConfig]:
    """Watch the alerts file and the secret files that it names.

    Raises AlertsFileError when it is invalid at the start.
    """
    return WatchedFile(
        path,
        AlertsConfig.load,
        AlertsConfig.load(path),
        version=lambda config: config.digest,
        what="alerts file",
        log=_log,
        clock=clock,
    )
