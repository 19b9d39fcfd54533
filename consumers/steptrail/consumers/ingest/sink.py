"""Sinks that write batches to a projection's ledger and tables; the one for steps dead-letters bad records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from steptrail.consumers.ingest.bad_records import Isolation
from steptrail.consumers.ingest.dead_letter_producer import DeadLetter
from steptrail.consumers.ingest.poison_limit import PoisonLimit
from steptrail.consumers.ingest.prefiltering_buffer import PrefilteringBuffer
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.loop.buffer import Buffer, ConsumedBatch
from steptrail.consumers.loop.positions import Start, start_of
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import ClaimLost, QueryError, StoreRefused, TopicRecreated
from steptrail.projections.clickhouse.shards import Shards
from steptrail.projections.delivery.batch import Batch
from steptrail.projections.delivery.sharding import AnyProjection, new_projection
from steptrail.projections.delivery.spec import ProjectionSpec
from steptrail.projections.delivery.staging import SetAside
from steptrail.projections.lifecycle.backups import was_restored
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.errors import InfrastructureError


class ProjectionSink:
    """The loop's sink (`steptrail.consumers.loop.sink.Sink`) for a projection of the topic of `questions`.

    It contacts neither Kafka nor ClickHouse before the first `open`, so either may be unavailable at the start.
    Raises TopicRecreated, besides what Sink documents, when the topic was recreated; it accepts a recreated topic
    only if its id is `accept_topic`.
    """

    def __init__(
        self,
        clickhouse: ClickHouse | Shards,
        questions: BrokerQuestions,
        spec: ProjectionSpec,
        *,
        group: str,
        accept_topic: str | None = None,
    ) -> None:
        self._clickhouse = clickhouse
        self._questions = questions
        self._spec = spec
        self._group = group
        self._accept_topic = accept_topic
        self._topic_id: str | None = None
        self._projection: AnyProjection | None = None
        self._group_knows = True

    def prepare(self) -> None:
        """Check the topic and the tables; what is wrong with them is left to `open`."""
        with suppress(InfrastructureError, QueryError):
            self._prepared()

    def open(self, partitions: Collection[int]) -> dict[int, Start]:
        """Claim the partitions; returns where to resume in those won."""
        try:
            return self._open(self._prepared(), partitions)
        except QueryError as error:
            # No record is at fault: tables are missing, or belong to another version. Check them again then.
            self._projection = None
            raise StoreRefused(str(error), code=error.code, name=error.name) from error

    def _open(self, projection: AnyProjection, partitions: Collection[int]) -> dict[int, Start]:
        projected = projection.open(partitions)
        # A group may keep, or receive at the last moment, offsets committed for a deleted topic.
        knows = self._group_knows and not self._was_restored()
        committed = self._questions.committed(self._group, projected) if knows else {}
        first = self._questions.first_offsets(projected)
        end = self._questions.end_offsets(projected)
        starts = {p: start_of(p, projected[p], committed.get(p), first[p], end[p]) for p in projected}
        for gap in [start.gap for start in starts.values() if start.gap is not None]:
            projection.record_gap(gap.partition, gap.first, gap.last, gap.reason)
        return starts

    def _was_restored(self) -> bool:
        """Whether the group may have committed what a store that was restored from a backup does not have."""
        stores = self._clickhouse.stores if isinstance(self._clickhouse, Shards) else (self._clickhouse,)
        return len(stores) == 1 and was_restored(stores[0])  # a store of several is not restored by steptrail

    def write(self, batch: ConsumedBatch) -> dict[int, int]:
        """Project the batch. Raises BatchRejected, besides what Sink documents, when a record is invalid."""
        # Checked after the batch was read: if the topic is the same now, every record came from it.
        self._require_same_topic()
        return self._project(batch.batch)

    def release(self, partitions: Collection[int]) -> None:
        """Drop the claims."""
        if self._projection is not None:
            self._projection.release(partitions)

    def _prepared(self) -> AnyProjection:
        self._require_same_topic()
        if self._projection is None:
            assert self._topic_id is not None
            projection = new_projection(
                self._clickhouse, self._spec, topic=self._questions.topic, topic_id=self._topic_id
            )
            projection.prepare(accept_recreated=self._accept_topic == self._topic_id)
            self._group_knows = not projection.has_predecessor()
            self._projection = projection
        return self._projection

    def _require_same_topic(self) -> None:
        found = self._questions.describe().topic_id
        if self._topic_id is None:
            self._topic_id = found
        elif found != self._topic_id:
            raise TopicRecreated(
                f"topic {self._questions.topic} was deleted and created again while it was read (id "
                f"{self._topic_id} before, {found} now): stopped, and nothing of the new one was written.\n"
                f"To go on with the new topic, beside the rows of the old one, start this part again with "
                f"--accept-topic {found}"
            )

    def _project(self, batch: Batch, set_aside: SetAside | None = None) -> dict[int, int]:
        if self._projection is None:
            raise ClaimLost("nothing is claimed yet")
        return self._projection.write(batch, set_aside)


class Letters(Protocol):
    """Takes what is no event; see `ingest.dead_letter_producer.DeadLetters`."""

    def send(self, letters: Sequence[DeadLetter], topic_id: str | None = None) -> None:
        """Return when all of them are safe."""
        ...

    def written(self, done: Mapping[int, int]) -> None:
        """The offsets before these are covered by a written batch, by partition."""
        ...


class ProjectorSink(ProjectionSink):
    """The sink for step events."""

    def __init__(
        self,
        clickhouse: ClickHouse | Shards,
        questions: BrokerQuestions,
        dead_letters: Letters,
        *,
        group: str,
        schemas: WriterSchemas,
        limit: PoisonLimit,
        metrics: ProjectorMetrics,
        accept_topic: str | None = None,
        spec: ProjectionSpec = STEP_EVENTS,
    ) -> None:
        super().__init__(clickhouse, questions, spec, group=group, accept_topic=accept_topic)
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._schemas = schemas
        self._isolation = Isolation(self._project, self._send_letters, schemas, limit)

    def new_buffer(self, positions: dict[int, int]) -> Buffer:
        """Create a buffer for the loop, which searches for bad messages while some are expected."""
        return PrefilteringBuffer(self._schemas, positions, self._isolation.wary)

    def write(self, batch: ConsumedBatch) -> dict[int, int]:
        """Project the batch except its bad records, which are in the dead-letter topic when this returns."""
        self._require_same_topic()
        before = self._isolation.batches
        done = self._isolation.write(batch)
        self._metrics.isolations.inc(self._isolation.batches - before)
        self._dead_letters.written(done)
        return done

    def _send_letters(self, letters: Sequence[DeadLetter]) -> None:
        if letters:
            self._dead_letters.send(letters, self._topic_id)
            for letter in letters:
                self._metrics.dead_letters.labels(letter.reason).inc()
