"""librdkafka properties of the consume loops."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, TopicPartition

from steptrail.consumers.loop.monitor import Monitor
from steptrail.schemas.access.denials import denial
from steptrail.schemas.access.rights import Right
from steptrail.schemas.configuration.settings import Settings

_kafka_log = logging.getLogger("steptrail.kafka")


def consumer_config(
    settings: Settings, group: str, monitor: Monitor, instance_id: str | None = None
) -> dict[str, Any]:
    """The consumer's librdkafka properties: defaults, overridden by the settings, then by what the loop requires.

    `instance_id` is the member's name in the group, if it has one.
    """

    def on_commit(error: KafkaError | None, _: list[TopicPartition]) -> None:
        if error is not None and error.code() != KafkaError._NO_OFFSET:
            monitor.broker_said(error)

    defaults = {
        "isolation.level": "read_committed",
        # A consumer that was killed holds its partitions for so long, unless its successor has its name.
        "session.timeout.ms": 10_000,
        "topic.metadata.refresh.interval.ms": 15_000,
        # Prefetched records are memory, and compressed ones grow tenfold when they arrive: small fetches, asked
        # for again as soon as there is room, are as fast as large ones and take half the memory.
        "queued.min.messages": 50_000,
        "queued.max.messages.kbytes": 16 * 1024,
        "max.partition.fetch.bytes": 128 * 1024,
        "fetch.queue.backoff.ms": 20,
        # At low rates a broker's work is the number of fetches: it gathers for so long, or until so much is there. A
        # partition that is new to the member waits for the fetch under way.
        "fetch.min.bytes": 16 * 1024,
        "fetch.wait.max.ms": 250,
    }
    needed = {
        "group.id": group,
        "partition.assignment.strategy": "cooperative-sticky",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Where to start is decided in steptrail.consumers.loop.positions; never jump by yourself.
        "auto.offset.reset": "error",
        "on_commit": on_commit,
        "error_cb": monitor.broker_said,
        "logger": _kafka_log,
    }
    if instance_id is not None:
        needed["group.instance.id"] = instance_id
    return {**defaults, **settings.kafka_config(), **needed}


def reading_denied(config: Mapping[str, Any], topic: str, group: str) -> Callable[[KafkaError], str | None]:
    """What a Monitor's `denied` is for a member of `group` that reads `topic`."""
    needed = Right("Read", "topic", topic), Right("Read", "group", group)
    return lambda error: denial(error, config, *needed)
