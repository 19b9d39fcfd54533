"""Projections: a batch of Kafka records into every table, each record exactly once."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.concurrency import together
from steptrail.projections.clickhouse.errors import (
    BatchRejected,
    ClaimLost,
    QueryError,
    SchemaMismatch,
    StoreRefused,
)
from steptrail.projections.clickhouse.layouts import Rendering, Single
from steptrail.projections.clickhouse.migrate import require_current, require_made_for
from steptrail.projections.delivery.batch import Batch, BatchBuilder
from steptrail.projections.delivery.erased import any_erased
from steptrail.projections.delivery.ledger import Claim, Claims, Ledger
from steptrail.projections.delivery.spec import EventOnce, ProjectionSpec, Target
from steptrail.projections.delivery.staging import SetAside, Stage, drop_abandoned, staged
from steptrail.projections.delivery.topic_gaps import TopicGaps

_log = logging.getLogger("steptrail.projection")
_SINGLE = Single()

THROWN: Final = 395
"""The code of the error that `throwIf` raises."""

HELD: Final = "/* every partition is held */"
"""Stands in a statement for the condition of `Projection.fill`."""


class Projection:
    """Writes batches of one topic into the tables of `spec` by the ledger's protocol.

    One writer thread owns it. Every method raises InfrastructureError when the store is away or will not do it
    now; `open` must then be called again before the next `write`, because what became of the statement that
    failed is not known.
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        spec: ProjectionSpec,
        *,
        topic: str,
        topic_id: str,
        fence: Callable[[Ledger, Claims], None] | None = None,
        rendering: Rendering = _SINGLE,
    ) -> None:
        """`rendering` is the layout that the tables must have been made for, `fence` as in `Ledger`."""
        self._clickhouse = clickhouse
        self._spec = spec
        self._topic_id = topic_id
        self._rendering = rendering
        self._ledger = Ledger(clickhouse, projection=spec.name, topic=topic, topic_id=topic_id, fence=fence)
        self._gaps = TopicGaps(clickhouse, projection=spec.name, topic=topic, topic_id=topic_id)
        self._held: dict[int, Claim] = {}
        self._erasures = False  # whether documents were ever erased, as far as is known
        self._doubtful = False  # the latest batch met an error that may be its own

    @property
    def held(self) -> frozenset[int]:
        """The partitions that are claimed, as far as is known."""
        return frozenset(self._held)

    def prepare(self, *, accept_recreated: bool = False) -> None:
        """Check the tables and the topic before anything is claimed, and drop abandoned stages.

        Raises SchemaMismatch when migrations are missing, TopicRecreated when the ledger knows another topic of
        this name (unless `accept_recreated`).
        """
        require_made_for(self._clickhouse, self._rendering)
        require_current(self._clickhouse)
        if not accept_recreated:
            self._ledger.refuse_recreated()
        drop_abandoned(self._clickhouse, self._spec.name)

    def has_predecessor(self) -> bool:
        """Whether a topic of this name was projected before that was another one: offsets of old mean nothing."""
        return any(topic_id != self._topic_id for topic_id in self._ledger.topic_ids())

    def record_gap(self, partition: int, first_offset: int, last_offset: int, reason: str) -> None:
        """Write down that these offsets will never be projected."""
        self._gaps.record(partition, first_offset, last_offset, reason)

    def open(self, partitions: Collection[int], *, under: uuid.UUID | None = None) -> dict[int, int]:
        """Claim `partitions` and return where to read on: the offset after the last one that is projected.

        Returns partition → offset for the partitions that were won. Blocks while a predecessor's statement runs.
        Raises TablesHeld while a hold stands that is not `under`.
        """
        self.release(partitions)
        claims = self._ledger.claim(partitions, under=under)
        marks = self._ledger.high_water(claims)
        self._held.update(claims)
        return {part: mark + 1 for part, mark in marks.items()}

    def release(self, partitions: Collection[int]) -> None:
        """Forget the claims on `partitions`; nothing is sent: the next claim outdoes them."""
        for part in partitions:
            self._held.pop(part, None)

    def write(self, batch: Batch, set_aside: SetAside | None = None) -> dict[int, int]:
        """Project `batch`: stage, validate, insert into all tables side by side, ledger rows last, read back.

        One that was `checked` is not validated, unless the one before failed. Returns partition → next offset to
        commit, for the partitions that are still held: fewer than the batch's when another consumer has claimed some
        meanwhile. Rows that fail a check go to `set_aside`, and the rest is written, where every record is in its
        place. Raises BatchRejected, with nothing written, when the batch does not hold what it should; ClaimLost when
        none of its partitions is claimed; and what `set_aside` raises.
        """
        claims = {part: claim for part, claim in self._held.items() if part in batch.spans}
        if not claims:
            raise ClaimLost(f"partitions {batch.partitions} are not claimed: open them first")
        if self._doubtful:
            batch = replace(
                batch, checked=False
            )  # the store's own checks say what is wrong with it, if it is
        done: set[int] = set()

        def record() -> None:
            done.update(self._ledger.record(claims, batch))

        try:
            if batch.rows:
                with staged(self._clickhouse, self._spec, batch, set_aside) as stage:
                    batch = stage.batch
                    together(partial(self._fill, target, stage, claims) for target in self._spec.targets)
                    together([record, stage.drop])
            else:
                record()
        except BatchRejected:
            raise  # a clear answer, and nothing was written: the claims stand
        except QueryError as error:
            self._doubtful = True
            self.release(batch.partitions)
            raise self._not_our_data(error) from error
        except Exception:
            self.release(batch.partitions)
            raise
        self._doubtful = False
        self.release([part for part in batch.spans if part not in done])
        return {part: batch.spans[part].last + 1 for part in sorted(done)}

    def cover(self, offsets: Mapping[int, tuple[int, int]]) -> None:
        """Write down that the tables hold all they will ever hold of these offsets: partition → first and last.

        Raises ClaimLost when a partition is not held any more.
        """
        builder = BatchBuilder({})
        for partition, (first, last) in sorted(offsets.items()):
            builder.skip(partition, first)
            builder.skip(partition, last)
        if offsets and set(self.write(builder.build())) != set(offsets):
            raise ClaimLost("the partitions were claimed by another process")

    def fill(self, statement: str) -> None:
        """Run a statement that writes, if every held partition is still held when it starts.

        It must contain HELD, for which that condition is put. Raises ClaimLost when one is not held any more.
        """
        claims = dict(self._held)
        if not claims:
            raise ClaimLost("no partition is claimed: open them first")
        try:
            self._ledger.write(statement.replace(HELD, self._ledger.all_held(claims)), list(claims))
        except QueryError as error:
            self.release(claims)
            if error.code == THROWN:
                raise ClaimLost("the partitions were claimed by another process") from error
            raise self._not_our_data(error) from error
        except Exception:
            self.release(claims)
            raise

    def _fill(self, target: Target, stage: Stage, claims: Claims) -> None:
        erasures = self._erasures
        conditions = [stage.whole, self._ledger.holds(claims, list(claims), "kafka_partition")]
        if target.only:
            conditions.append(target.only)
        if target.keeps_offsets:
            conditions.append(self._ledger.not_in(target.table, stage.batch))
        if target.erasable is not None:
            conditions.append(target.erasable.condition(stage.table, any_erased=erasures))
        if isinstance(target.once_by, EventOnce) or (target.once_by is not None and stage.batch.resent):
            conditions.append(target.once_by.condition(target.table, stage.table))
        try:
            statement = target.insert(stage.table, conditions)
            self._ledger.write(statement, list(claims), settings=stage.batch.settings)
        except QueryError as error:
            if error.code != THROWN or erasures or not any_erased(self._clickhouse):
                raise
            self._erasures = True  # for good: tombstones stay
            self._fill(target, stage, claims)

    def _not_our_data(self, error: QueryError) -> StoreRefused | SchemaMismatch:
        """The batch had passed validation, so it is the store or its tables that are not as they should be."""
        if error.code == 60 and f"stage_{self._spec.name}_" in str(error):
            return StoreRefused(f"the stage is gone: {error}", code=error.code, name=error.name)
        if error.code in (16, 47, 60, 81):  # no such column, unknown identifier, table, database
            return SchemaMismatch(
                f"{error}: the tables are not those of this program; run `steptrail migrate`"
            )
        if error.code == THROWN:  # of Stage.whole
            return StoreRefused(
                f"the staged batch is not whole, as after a restart of the store: {error}",
                code=error.code,
                name=error.name,
            )
        return StoreRefused(str(error), code=error.code, name=error.name)
