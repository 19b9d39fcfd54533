"""The steps projection: a batch of Kafka records into every table, each record exactly once."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

from steptrail.projections.batch import Batch
from steptrail.projections.clickhouse import ClickHouse
from steptrail.projections.errors import ClaimLost, QueryError, SchemaMismatch, StoreRefused
from steptrail.projections.ledger import Claim, Claims, Ledger
from steptrail.projections.migrate import require_current
from steptrail.projections.staging import Stage, drop_abandoned, staged

_log = logging.getLogger("steptrail.projection")

_EVENT_TIME = "least(fromUnixTimestamp64Micro(timestamp, 'UTC'), toDateTime64(fromUnixTimestamp64Milli(broker_ms, 'UTC'), 6, 'UTC'))"  # noqa: E501  an expression
_STATUS = (
    "CAST(status, 'Enum8(''PENDING'' = 0, ''RUNNING'' = 1, ''SUCCESS'' = 2, ''WARNING'' = 3, "
    "''ERROR'' = 4, ''FAILED'' = 5, ''SKIPPED'' = 6)')"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A table that a batch is written to.

    `keeps_offsets` says that its rows carry their Kafka offsets, so that the ledger can ask it what it has. One
    that does not must hold idempotent aggregates only: it may be given the same record twice.
    """

    table: str
    columns: dict[str, str]
    keeps_offsets: bool
    group_by: str = ""

    def insert(self, stage: Stage, conditions: list[str]) -> str:
        """The statement that copies the stage's rows which meet all `conditions` into the table."""
        return (
            f"INSERT INTO {self.table} ({', '.join(self.columns)}) "
            f"SELECT {', '.join(self.columns.values())} FROM {stage.table} "
            f"WHERE {' AND '.join(conditions)}{self.group_by}"
        )


STEPS = Target(
    "steps",
    {
        "pipeline": "pipeline",
        "doc_id": "doc_id",
        "step_name": "step_name",
        "status": _STATUS,
        "timestamp": "fromUnixTimestamp64Micro(timestamp, 'UTC')",
        "broker_time": "fromUnixTimestamp64Milli(broker_ms, 'UTC')",
        "event_id": "event_uuid",
        "execution_id": "execution_uuid",
        "attempt": "attempt",
        "duration_ms": "duration_ms",
        "error_type": "error_type",
        "error_message": "error_message",
        "details": "details",
        "metrics": "metrics",
        "depends_on": "depends_on",
        "trace_id": "trace_id",
        "worker": "worker",
        "emitter_id": "lower(hex(emitter_id))",
        "sequence": "sequence",
        "topic_id": "{topic_id:String}",
        "kafka_partition": "kafka_partition",
        "kafka_offset": "kafka_offset",
    },
    keeps_offsets=True,
)

STEP_EXECUTIONS = Target(
    "step_executions",
    {
        "pipeline": "pipeline",
        "step_name": "step_name",
        "doc_id": "doc_id",
        "execution_id": "execution_uuid",
        "winner": f"(toUInt8(least(status, 2)), {_EVENT_TIME}, toUInt128(event_uuid), {_STATUS})",
        "attempt": "attempt",
        "first_run": f"if(status = 1, toNullable({_EVENT_TIME}), NULL)",
        "first_any": _EVENT_TIME,
        "last_any": _EVENT_TIME,
    },
    keeps_offsets=False,
)


class StepProjection:
    """Writes batches of the steps topic into `steps` and `step_executions` by the ledger's protocol.

    One writer thread owns it. Every method raises InfrastructureError when the store is away or will not do it
    now; `open` must then be called again before the next `write`, because what became of the statement that
    failed is not known.
    """

    targets: tuple[Target, ...] = (STEPS, STEP_EXECUTIONS)

    def __init__(
        self, clickhouse: ClickHouse, *, topic: str, topic_id: str, projection: str = "steps"
    ) -> None:
        self._clickhouse = clickhouse
        self._projection = projection
        self._ledger = Ledger(clickhouse, projection=projection, topic=topic, topic_id=topic_id)
        self._held: dict[int, Claim] = {}

    @property
    def held(self) -> frozenset[int]:
        """The partitions that are claimed, as far as is known."""
        return frozenset(self._held)

    def prepare(self, *, accept_recreated: bool = False) -> None:
        """Check the tables and the topic before anything is claimed, and drop abandoned stages.

        Raises SchemaMismatch when migrations are missing, TopicRecreated when the ledger knows another topic of
        this name (unless `accept_recreated`).
        """
        require_current(self._clickhouse)
        if not accept_recreated:
            self._ledger.refuse_recreated()
        drop_abandoned(self._clickhouse, self._projection)

    def open(self, partitions: Collection[int]) -> dict[int, int]:
        """Claim `partitions` and say where to read on: the offset after the last one that is projected.

        Returns partition → offset for the partitions that were won. Blocks while a predecessor's statement runs.
        """
        self.release(partitions)
        claims = self._ledger.claim(partitions)
        marks = self._ledger.high_water(claims)
        self._held.update(claims)
        return {part: mark + 1 for part, mark in marks.items()}

    def release(self, partitions: Collection[int]) -> None:
        """Forget the claims on `partitions`; nothing is sent: the next claim outdoes them."""
        for part in partitions:
            self._held.pop(part, None)

    def write(self, batch: Batch) -> dict[int, int]:
        """Project `batch`: stage, validate, insert into each table, ledger rows last, read back.

        Returns partition → next offset to commit, for the partitions that are still held: fewer than the batch's
        when another consumer has claimed some meanwhile. Raises BatchRejected, with nothing written, when the
        batch does not hold what it should; ClaimLost when none of its partitions is claimed.
        """
        claims = {part: claim for part, claim in self._held.items() if part in batch.spans}
        if not claims:
            raise ClaimLost(f"partitions {batch.partitions} are not claimed: open them first")
        try:
            if batch.rows:
                with staged(self._clickhouse, self._projection, batch) as stage:
                    for target in self.targets:
                        self._fill(target, stage, claims)
            done = self._ledger.record(claims, batch)
        except QueryError as error:
            self.release(batch.partitions)
            raise self._not_our_data(error) from error
        except Exception:
            self.release(batch.partitions)
            raise
        self.release([part for part in batch.spans if part not in done])
        return {part: batch.spans[part].last + 1 for part in sorted(done)}

    def _fill(self, target: Target, stage: Stage, claims: Claims) -> None:
        conditions = [stage.whole, self._ledger.holds(claims, list(claims), "kafka_partition")]
        if target.keeps_offsets:
            conditions.append(self._ledger.not_in(target.table, stage.batch))
        self._ledger.write(target.insert(stage, conditions), list(claims))

    def _not_our_data(self, error: QueryError) -> StoreRefused | SchemaMismatch:
        """The batch had passed validation, so it is the store or its tables that are not as they should be."""
        if error.code in (16, 47, 60, 81):  # no such column, unknown identifier, table, database
            return SchemaMismatch(
                f"{error}: the tables are not those of this program; run `steptrail migrate`"
            )
        if error.code == 395:  # throwIf, of Stage.whole
            return StoreRefused(
                "the store was restarted while a batch was staged", code=error.code, name=error.name
            )
        return StoreRefused(str(error), code=error.code, name=error.name)
