"""Configuration of librdkafka for producers of events, and how they abort delivery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, Producer

from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import PARTITIONER


def producer_config(settings: Settings, on_error: Callable[[KafkaError], None]) -> dict[str, Any]:
    """librdkafka's properties: steptrail's defaults, then the settings', then those the accounting depends on."""
    return {
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": settings.linger_ms,
        "compression.type": "lz4",
        "queue.buffering.max.messages": settings.queue_max_messages,
        "queue.buffering.max.kbytes": settings.queue_max_kbytes,
        "message.timeout.ms": settings.message_timeout_ms,
        # Long enough to tell a first attempt from a second one by its time: see Tries.
        "retry.backoff.ms": 1000,
        "retry.backoff.max.ms": 1000,
        "reconnect.backoff.max.ms": 2000,
        "socket.keepalive.enable": True,
        "log.connection.close": False,
        **settings.kafka_config(),
        "partitioner": PARTITIONER,
        "delivery.report.only.error": False,
        "error_cb": on_error,
    }


def purge(producer: Producer) -> None:
    """Make librdkafka report everything it still holds as undelivered, without waiting for its threads: in a forked
    child such a wait may last for ever, on a lock held at the fork.
    """
    # The Python client inverts the flag: `blocking` sets librdkafka's NON_BLOCKING.
    producer.purge(in_queue=True, in_flight=True, blocking=True)
