"""Kafka and ClickHouse in containers, by testcontainers, for machines with a Docker engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

KAFKA_IMAGE = "confluentinc/cp-kafka:7.9.2"
CLICKHOUSE_IMAGE = "clickhouse/clickhouse-server:26.8"


@cache
def docker_answers() -> bool:
    """Whether a Docker engine can be talked to."""
    if not os.environ.get("DOCKER_HOST") and not Path("/var/run/docker.sock").exists():
        return False
    from testcontainers.core.docker_client import DockerClient

    try:
        return bool(DockerClient().client.ping())
    except Exception:  # whatever it is: there is no engine that could be used
        return False


@contextmanager
def docker_stack() -> Iterator[tuple[str, str]]:
    """Kafka's address and ClickHouse's URL, in containers that live as long as the context."""
    from testcontainers.community.clickhouse import ClickHouseContainer
    from testcontainers.community.kafka import KafkaContainer

    kafka = KafkaContainer(KAFKA_IMAGE).with_kraft()
    # As the design asks of every broker: topics are made on purpose, dead letters may be large.
    kafka.with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
    kafka.with_env("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1")
    kafka.with_env("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1")
    clickhouse = ClickHouseContainer(
        CLICKHOUSE_IMAGE, username="steptrail", password="steptrail", dbname="steptrail"
    )
    clickhouse.with_env("CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT", "1")
    with clickhouse:
        kafka.start(timeout=120)
        try:
            host, port = clickhouse.get_container_host_ip(), clickhouse.get_exposed_port(8123)
            yield kafka.get_bootstrap_server(), f"http://steptrail:steptrail@{host}:{port}/steptrail"
        finally:
            kafka.stop()
