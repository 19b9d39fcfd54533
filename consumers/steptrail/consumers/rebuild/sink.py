"""The sink of a rebuild: the projector's, into other tables, which copies what the topic does not have any more."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence

from steptrail.consumers.ingest.dead_letter_producer import DeadLetter
from steptrail.consumers.ingest.poison_limit import PoisonLimit
from steptrail.consumers.ingest.sink import ProjectorSink
from steptrail.consumers.ingest.writer_schemas import WriterSchemas
from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.loop.buffer import ConsumedBatch
from steptrail.consumers.loop.positions import Start, start_of
from steptrail.consumers.runtime.metrics import ProjectorMetrics
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import ClaimLost, StoreRefused, TopicRecreated
from steptrail.projections.delivery.ledger import Ledger
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.delivery.sharding import AnyProjection
from steptrail.projections.lifecycle.copying import copy, copy_sequences, initial, offsets, rows_to_copy
from steptrail.projections.lifecycle.rebuilds import Rebuild, RebuildState, latest_rebuild
from steptrail.projections.lifecycle.shadow_tables import Side, ledger_name, shadow_spec
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.errors import SteptrailError


class RebuildTakenOver(SteptrailError):
    """Another process goes on with the same rebuild, or has ended it."""

    def __init__(
        self, message: str = "another process goes on with this rebuild; this one has stopped"
    ) -> None:
        super().__init__(message)


class SetAside:
    """Counts what is no event. The projector has sent it to the dead-letter topic already."""

    def __init__(self) -> None:
        self.count = 0

    def send(self, letters: Sequence[DeadLetter], topic_id: str | None = None) -> None:
        """Count them."""
        self.count += len(letters)

    def written(self, done: Mapping[int, int]) -> None:
        """Nothing is kept for later."""


class RebuildSink(ProjectorSink):
    """Writes to the tables of `side`.

    `copied` is called with the number of rows copied after each piece, `on_copied` when the first copy is complete.
    `under` is the hold under which the live tables stand still, if they do. Raises RebuildTakenOver, besides what
    ProjectorSink documents.
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        questions: BrokerQuestions,
        rebuild: Rebuild,
        side: Side,
        *,
        schemas: WriterSchemas,
        metrics: ProjectorMetrics,
        copied: Callable[[int], None],
        on_copied: Callable[[], None],
        under: uuid.UUID | None = None,
    ) -> None:
        super().__init__(
            clickhouse,
            questions,
            SetAside(),
            group="",
            schemas=schemas,
            # What is refused now shows in the diff, however much it is.
            limit=PoisonLimit(in_a_row=0, ratio=1.0),
            metrics=metrics,
            accept_topic=rebuild.topic_id,
            spec=shadow_spec(side, rebuild),
        )
        self._store = clickhouse
        self._rebuild = rebuild
        self._prefix = f"{ledger_name(side, rebuild)}_"
        self._first_copy = side is Side.NEW and rebuild.state is RebuildState.STARTED
        self._copied = copied
        self._on_copied = on_copied
        self._under = under
        self._live = Ledger(
            clickhouse, projection=STEP_EVENTS.name, topic=rebuild.topic, topic_id=rebuild.topic_id
        )

    def _open(self, projection: AnyProjection, partitions: Collection[int]) -> dict[int, Start]:
        assert isinstance(projection, Projection)
        now = latest_rebuild(self._store)
        if now is None or now.rebuild != self._rebuild.rebuild or now.state is RebuildState.DROPPED:
            raise RebuildTakenOver("this rebuild was dropped meanwhile")
        if self._topic_id != self._rebuild.topic_id:
            raise TopicRecreated(
                f"topic {self._rebuild.topic} was deleted and created again after this rebuild had begun. Drop it with "
                "`steptrail rebuild drop --yes`, and begin another"
            )
        projected = projection.open(partitions)
        if set(projected) != set(partitions):
            raise RebuildTakenOver
        first = self._questions.first_offsets(projected)
        end = self._questions.end_offsets(projected)
        try:
            self._copy(projection, projected, first)
        except ClaimLost:
            raise RebuildTakenOver from None
        return {p: start_of(p, projected[p], None, first[p], end[p]) for p in projected}

    def write(self, batch: ConsumedBatch) -> dict[int, int]:
        """Project the batch except its bad records, which are counted."""
        done = super().write(batch)
        if set(done) != set(batch.batch.spans):
            raise RebuildTakenOver
        return done

    def _copy(self, projection: Projection, projected: dict[int, int], first: Mapping[int, int]) -> None:
        """Copy what lies before the topic's records; advances `projected`."""
        begins = self._rebuild.begins
        wanted = {p: max(first[p], begins.get(p, 0)) if at == 0 else first[p] for p, at in projected.items()}
        spans = {p: (at, wanted[p] - 1) for p, at in projected.items() if at < wanted[p]}
        if spans and self._under is None:
            self._require_live(spans)
        which = offsets(spans, self._rebuild)
        if self._first_copy:
            which = f"({initial(self._rebuild)} OR {which})"
        if (spans or self._first_copy) and rows_to_copy(self._store, which):
            copy(self._store, projection, self._prefix, which, self._copied)
        if spans or (self._first_copy and self._rebuild.pipelines):
            copy_sequences(projection, self._prefix)
        projection.cover(spans)
        projected.update({p: last + 1 for p, (_, last) in spans.items()})
        if self._first_copy:
            self._first_copy = False
            self._on_copied()

    def _require_live(self, spans: Mapping[int, tuple[int, int]]) -> None:
        for partition, mark in self._live.high_water(spans).items():
            last = spans[partition][1]
            if mark < last:
                raise StoreRefused(
                    f"the projector to have projected partition {partition} up to offset {last}, before which the "
                    f"rows are copied: it is at {mark}. Is it running?",
                    code=None,
                    name=None,
                )
