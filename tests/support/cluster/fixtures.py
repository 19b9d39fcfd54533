"""The secured cluster, started once for the tests that ask for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.cluster.cluster import KafkaCluster, kafka_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[KafkaCluster]:
    """Three secured Kafka nodes."""
    with kafka_cluster() as running:
        yield running
