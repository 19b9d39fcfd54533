"""How long Kafka keeps the records of the topics, and up to when it has stamped them."""

from __future__ import annotations

from dataclasses import dataclass

from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics


@dataclass(frozen=True, slots=True)
class TopicRetention:
    """How long a topic keeps a record; in milliseconds, `retention_ms` None: for ever.

    Kafka removes whole segments: a record goes at the latest when `retention_ms` and the time for which a segment is
    written (`segment_ms`) have passed. A `compacted` topic keeps the latest record of each key.
    """

    topic: str
    retention_ms: int | None
    segment_ms: int
    compacted: bool

    @property
    def gone_after_ms(self) -> int | None:
        """After how many milliseconds a record is gone for sure; None: never by itself."""
        if self.compacted or self.retention_ms is None:
            return None
        return self.retention_ms + self.segment_ms


def topic_retentions(settings: Settings) -> list[TopicRetention]:
    """The topics in which documents are named, as the brokers have them. Raises BrokerUnavailable and TopicMissing."""
    topics = Topics.from_settings(settings)
    specs = (topics.steps, topics.dlq, topics.observations, topics.alerts, topics.notifications)
    return [
        _retention(spec.name, BrokerQuestions(settings.kafka_config(), spec.name).config()) for spec in specs
    ]


def _retention(topic: str, config: dict[str, str]) -> TopicRetention:
    retention_ms = int(config["retention.ms"])
    return TopicRetention(
        topic,
        None if retention_ms < 0 else retention_ms,
        int(config["segment.ms"]),
        "compact" in config["cleanup.policy"],
    )


def latest_stamp_us(settings: Settings) -> int:
    """The greatest time that a broker has given a step event, in microseconds since 1970; 0 where there is none.

    Raises BrokerUnavailable and TopicMissing.
    """
    questions = BrokerQuestions(settings.kafka_config(), Topics.from_settings(settings).steps.name)
    stamps = questions.latest_stamps(range(questions.describe().partitions))
    return max(stamps.values(), default=0) * 1000
