"""Topics and keys, in one module to import from.

Names, partitions and configs are in `topic_specs`, keys and their hash in `partitioning`, and requests to Kafka in
`topic_admin`, which is imported on demand.
"""

from __future__ import annotations

from collections.abc import Iterable

from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topic_specs import Difference, TopicChange, Topics, TopicSpec
from steptrail.schemas.wire.partitioning import PARTITIONER, message_key, murmur2, partition_for

__all__ = [
    "PARTITIONER",
    "Difference",
    "TopicChange",
    "TopicSpec",
    "Topics",
    "ensure_topics",
    "message_key",
    "murmur2",
    "partition_for",
]


def ensure_topics(
    settings: Settings,
    *,
    alter: bool = False,
    topics: Iterable[TopicSpec] | None = None,
    timeout: float = 30.0,
) -> list[TopicChange]:
    """Create missing topics and compare the others with their specification. Idempotent.

    With `alter`, differing configs are set; otherwise they are only reported. `timeout` is the total in seconds.
    Raises InfrastructureError when Kafka does not answer, ConfigurationError when it refuses.
    """
    from steptrail.schemas.topic_admin import (
        TopicAdmin,  # imports librdkafka, which readers of tables do not need
    )

    specs = list(Topics.from_settings(settings).all if topics is None else topics)
    return TopicAdmin(settings, timeout).ensure(specs, alter=alter)
