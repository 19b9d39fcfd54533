"""Dead letters with both of their sides: the table in ClickHouse and the topic in Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType

from confluent_kafka import Message
from typing_extensions import Self

from steptrail.consumers.dlq.fetch import LetterReader
from steptrail.consumers.dlq.redrive import Redrive, Tally, Terms
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.delivery.ledger import Ledger
from steptrail.projections.stores.dead_letter_store import (
    Author,
    DeadLetterStore,
    Outcome,
    Selection,
    StoredLetter,
)
from steptrail.projections.tables.dead_letters import DEAD_LETTERS
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics

_POLL_S = 0.25


class DeadLetterService:
    """The letters of the settings' steps topic. Nothing is opened before it is needed. A context manager.

    Every method raises InfrastructureError when Kafka or ClickHouse does not answer.
    """

    def __init__(self, settings: Settings, *, timeout: float = 10.0) -> None:
        topics = Topics(settings.topic_prefix)
        self._config = {**settings.kafka_config(), "log_level": 0}
        self._steps = BrokerQuestions(self._config, topics.steps.name, timeout=timeout)
        self._dlq = BrokerQuestions(self._config, topics.dlq.name, timeout=timeout)
        self.clickhouse = connect(settings)
        self.store = DeadLetterStore(self.clickhouse, topic=topics.steps.name, dlq_topic=topics.dlq.name)
        self.schemas = WriterSchemas.of(settings)

    def message(self, letter: StoredLetter) -> Message | None:
        """The letter itself, None when the dead-letter topic does not hold it any more."""
        if letter.topic_id != self._dlq.describe().topic_id:
            return None
        place = (letter.letter_partition, letter.letter_offset)
        with LetterReader(self._config, self._dlq.topic) as reader:
            return reader.read([place]).get(place)

    def redrive(
        self,
        selection: Selection,
        author: Author,
        terms: Terms,
        on_progress: Callable[[Tally], None] = lambda _: None,
    ) -> Tally:
        """Send the letters again; see steptrail.consumers.dlq.redrive. Raises what Redrive.run does."""
        steps, dlq = self._steps.describe(), self._dlq.describe()
        with LetterReader(self._config, self._dlq.topic) as reader:
            redrive = Redrive(
                self.store,
                reader,
                self._config,
                topic=steps.name,
                partitions=steps.partitions,
                dlq_topic_id=dlq.topic_id,
                schemas=self.schemas,
                author=author,
                terms=terms,
                on_progress=on_progress,
            )
            return redrive.run(selection)

    def not_stored_yet(self) -> int:
        """How many messages of the dead-letter topic are not in the table yet."""
        dlq = self._dlq.describe()
        partitions = range(dlq.partitions)
        ends = self._dlq.end_offsets(partitions)
        stored = self._projected(DEAD_LETTERS.name, self._dlq, partitions)
        firsts = self._dlq.first_offsets(partitions)
        return sum(max(0, end - max(stored[p], firsts[p])) for p, end in ends.items())

    def outcome(self, run: str, sent_up_to: Mapping[int, int], *, timeout: float) -> Outcome | None:
        """What became of the letters of a run that sent up to these offsets, by partition.

        Waits up to `timeout` seconds for the projector to pass them, and what it set aside again to be in the
        table; None when it did not.
        """
        until = time.monotonic() + timeout
        partitions = list(sent_up_to)
        while True:
            stands = self._projected(STEP_EVENTS.name, self._steps, partitions)
            if all(stands[p] > offset for p, offset in sent_up_to.items()) and not self.not_stored_yet():
                return self.store.outcome(run, self._steps.describe().topic_id)
            if time.monotonic() > until:
                return None
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Let go of the connections."""
        self.clickhouse.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _projected(
        self, projection: str, questions: BrokerQuestions, partitions: range | list[int]
    ) -> dict[int, int]:
        """The next offset to be projected, by partition."""
        ledger = Ledger(
            self.clickhouse,
            projection=projection,
            topic=questions.topic,
            topic_id=questions.describe().topic_id,
        )
        return {p: mark + 1 for p, mark in ledger.high_water(partitions).items()}
