"""The health consumer's sink: the ledger and `health_events`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from confluent_kafka import TIMESTAMP_CREATE_TIME, Message

from steptrail.consumers.ingest.bad_records import Isolation
from steptrail.consumers.ingest.dead_letter_producer import DeadLetter
from steptrail.consumers.ingest.poison_limit import PoisonLimit
from steptrail.consumers.ingest.sink import ProjectionSink
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.loop.buffer import ConsumedBatch
from steptrail.consumers.loop.positions import Start
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.shards import Shards
from steptrail.projections.tables.health_events import HEALTH_EVENTS
from steptrail.schemas.errors import ConfigurationError

_STAMP = "message.timestamp.type"


class HealthSink(ProjectionSink):
    """Projects valid events and skips the rest, which the projector sends to the dead-letter topic.

    Raises ConfigurationError for a topic with producers' timestamps (CreateTime), which give no watermark.
    """

    def __init__(
        self,
        clickhouse: ClickHouse | Shards,
        questions: BrokerQuestions,
        *,
        group: str,
        schemas: WriterSchemas,
        limit: PoisonLimit,
        accept_topic: str | None = None,
    ) -> None:
        super().__init__(clickhouse, questions, HEALTH_EVENTS, group=group, accept_topic=accept_topic)
        self._isolation = Isolation(self._project, _pass_over, schemas, limit)
        self._checked = False

    @property
    def topic_id(self) -> str | None:
        """The topic's id, None before the first `open`."""
        return self._topic_id

    def open(self, partitions: Collection[int]) -> dict[int, Start]:
        """Claim the partitions; returns where to resume in those won."""
        if not self._checked:
            self._require_brokers_times("Nothing was read.")
            self._checked = True
        return super().open(partitions)

    def write(self, batch: ConsumedBatch) -> dict[int, int]:
        """Project the batch except its bad records. Raises ConfigurationError if the topic no longer has its own times.

        Records with producers' times from before the topic was set right are read like any others.
        """
        self._require_same_topic()
        if have_producers_times(batch.messages):
            self._require_brokers_times("It was changed meanwhile; what has come since is read then.")
        return self._isolation.write(batch)

    def _require_brokers_times(self, consequence: str) -> None:
        stamped = self._questions.config().get(_STAMP)
        if stamped != "LogAppendTime":
            raise ConfigurationError(
                f"topic {self._questions.topic} has {_STAMP}={stamped}: health needs the broker's time of each "
                "record, to know up to when the topic is complete. Set it right with `steptrail topics --alter`, "
                f"or: kafka-configs --alter --topic {self._questions.topic} --add-config {_STAMP}=LogAppendTime; "
                f"then start again. {consequence}"
            )


def have_producers_times(messages: Iterable[Message]) -> bool:
    """Whether the time of one of the records is its producer's, not the broker's."""
    return any(message.timestamp()[0] == TIMESTAMP_CREATE_TIME for message in messages)


def _pass_over(letters: Sequence[DeadLetter]) -> None:
    """Skip bad records: the projector sends them to the dead-letter topic, and they must not appear twice."""
