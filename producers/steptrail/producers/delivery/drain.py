"""Sends what ended processes left in the folders of spools and journals, without emitting anything itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException, Producer

from steptrail.producers.delivery.client_config import producer_config, purge
from steptrail.producers.delivery.loss_logging import PollLog
from steptrail.producers.persistence.orphans import LeftBehind
from steptrail.producers.persistence.resending import Resender
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.redact import redact_values
from steptrail.schemas.topics import Topics

_POLL_S = 0.1
_ASK_S = 2.0


@dataclass(frozen=True)
class Drained:
    """How far it is."""

    sent: int
    """Events that the broker confirmed."""
    refused: int
    """Events that it refused for good."""
    files: int
    """Files that are taken over and not finished."""
    reached: bool
    """Whether Kafka answered so far."""


def drain(
    settings: Settings,
    folders: list[Path],
    stop: threading.Event,
    *,
    once: bool,
    timeout: float,
    tell: Callable[[Drained], None],
) -> Drained:
    """Send what is left in `folders` until `stop` is set, or with `once` until nothing is left that has no process.

    `timeout` is how long, with `once`, no event may be confirmed while some are left, in seconds; then it gives up, and
    leaves them in their files. `tell` is called often. Files of processes that live are left alone.
    """
    topic = Topics.from_settings(settings).steps.name
    secrets = settings.secrets()
    log = PollLog(lambda error: redact_values(str(error), secrets), settings.kafka_config(), topic)
    producer = Producer(producer_config(settings, log.on_error), logger=log)
    left = LeftBehind(folders, topic)
    resender = Resender(topic, threading.RLock(), left.next)
    reached = False
    moved, moved_at = 0, time.monotonic()
    try:
        while True:
            now = time.monotonic()
            if not reached:
                reached = _answers(producer)
            else:
                resender.tick(producer.produce, now)
            producer.poll(_POLL_S)
            log.drain()
            told = Drained(left.sent, left.refused, left.holding, reached)
            tell(told)
            if told.sent + told.refused > moved:
                moved, moved_at = told.sent + told.refused, now
            if stop.is_set() or (once and reached and left.looked and not told.files):
                return told
            if once and now - moved_at >= timeout:
                return told
    finally:
        purge(producer)
        producer.poll(_POLL_S)
        left.close()


def _answers(producer: Producer) -> bool:
    try:
        return producer.list_topics(timeout=_ASK_S) is not None
    except KafkaException:
        return False
