"""The topics and their keys, in one place to import from.

Names, partitions and configs are in `topic_specs`, keys and their hash in `partitioning`, and the talk with
Kafka in `topic_admin`, which is loaded when it is needed.
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
    """Create the topics that are missing and compare the others with what they should be. Safe to repeat.

    With `alter`, configs that differ are set; without, they are only reported. `timeout` is in seconds, for
    all of it. Raises InfrastructureError when Kafka does not answer, ConfigurationError when it refuses.
    """
    from steptrail.schemas.topic_admin import (
        TopicAdmin,  # brings librdkafka, which readers of tables do not need
    )

    specs = list(Topics.from_settings(settings).all if topics is None else topics)
    return TopicAdmin(settings, timeout).ensure(specs, alter=alter)
