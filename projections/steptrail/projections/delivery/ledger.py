"""The delivery ledger: who may write a partition, and what has been written of it.

Batches are contiguous offsets of a partition, but whoever takes over may cut them elsewhere, statements of a
predecessor may still run, replies may be lost. What makes each record arrive exactly once, for every target
table that keeps its Kafka offsets:

1. **Claim.** A row for each partition with `epoch = greatest + 1` and a fresh owner. The greatest
   (epoch, owner) holds the partition; every statement that writes checks, in the statement, that it is still
   the greatest (`Claims.holds`).
2. **Wait** until no statement of a predecessor that names one of the partitions runs any more. Those that
   begin later find themselves outclaimed; those that ran before are seen, because a statement stands in
   `system.processes` before it is interpreted. Each carries its partitions in `log_comment`.
3. **High-water** from the ledger, then read on from there.
4. **Guarded insert** into each target: only offsets that the target does not have (`not_in`).
5. **Ledger rows** last, for the partitions still held; read back, and only what is there is committed.
6. Any error or lost reply: drop the claims, claim again, stage again.

None of 1, 2 and 4 can be left out: without the claim in the statement, without the wait or without the
target's own rows, random histories with crashes and freezes wrote records twice. With replicas the claims are rows of
Keeper, and 2 is a fence over all of them (`delivery.replicas`).
"""

from __future__ import annotations

import itertools
import logging
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from steptrail.projections.clickhouse.client import ClickHouse, int_list
from steptrail.projections.clickhouse.errors import PartitionMoved, TopicRecreated
from steptrail.projections.delivery.batch import Batch
from steptrail.projections.delivery.holds import TablesHeld, standing, unheld

_log = logging.getLogger("steptrail.ledger")

WAIT_POLL_S = 0.02
WAIT_LOG_S = 5.0

CLOSED = (1 << 32) - 1
"""The low half of the epoch of a claim that closes a partition here; no other claim comes to it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim on one partition. `owner` is fresh for every claim call, so that no two claims look alike."""

    epoch: int
    owner: uuid.UUID

    @property
    def closes(self) -> bool:
        """Whether the partition is not written here any more: another shard has it."""
        return self.epoch & CLOSED == CLOSED


Claims = Mapping[int, Claim]
"""Partition → the claim held on it; a batch is written under one snapshot of it."""


class Ledger:
    """The ledger of one projection of one topic. One writer owns it; only `write` may be called side by side."""

    def __init__(
        self,
        clickhouse: ClickHouse,
        *,
        projection: str,
        topic: str,
        topic_id: str,
        fence: Callable[[Ledger, Claims], None] | None = None,
    ) -> None:
        """`fence` is called with claims before they are used; by default it is `wait_for_predecessors`."""
        self._clickhouse = clickhouse
        self._fence = fence
        self._projection = projection
        self._topic = topic
        self._topic_id = topic_id
        self._instance = uuid.uuid4().hex
        self._statements = itertools.count(1)

    def topic_ids(self) -> list[str]:
        """The ids under which the ledger knows a topic of this name, the latest first."""
        known = self._clickhouse.query(
            "SELECT topic_id FROM projection_claims WHERE projection_name = {projection:String} "
            "AND topic = {topic:String} GROUP BY topic_id ORDER BY max(at) DESC",
            self.key,
        )
        return [str(topic_id) for (topic_id,) in known]

    def refuse_recreated(self) -> None:
        """Raise TopicRecreated when the ledger knows this topic's name under another id, and not under this one."""
        ids = self.topic_ids()
        if ids and self._topic_id not in ids:
            raise TopicRecreated(
                f"topic {self._topic} has id {self._topic_id}, but what was projected so far came from id {ids[0]}: "
                "it was deleted and created again. Nothing was written. To go on with the new topic, beside the "
                f"rows of the old one, start this part again with --accept-topic {self._topic_id}"
            )

    def claim(
        self, partitions: Collection[int], *, under: uuid.UUID | None = None, reopen: bool = False
    ) -> Claims:
        """Claim `partitions`, then wait until no predecessor's statement on them runs any more.

        Returns what was won: a racing claim with a greater owner may have taken some. Blocks for as long as a
        predecessor's statement runs; raises InfrastructureError when the store is away, TablesHeld while a hold
        stands that is not `under`, PartitionMoved for a partition that is closed here (unless `reopen`).
        """
        wanted = sorted(partitions)
        if not wanted:
            return {}
        top = self.greatest(wanted)
        closed = [part for part in wanted if part in top and top[part].closes]
        if closed and not reopen:
            raise PartitionMoved(
                f"partitions {', '.join(map(str, closed))} of {self._topic} are closed at {self._clickhouse.address}: "
                "another shard has them. Nothing was written. Is STEPTRAIL_CLICKHOUSE_SERVERS the same everywhere? "
                "`steptrail shards` shows where each partition is, and --hand-over --yes moves it"
            )
        epochs = {part: top[part].epoch + 1 if part in top else 1 for part in wanted}
        won = self._claimed(epochs, uuid.uuid4(), under=under)
        if not won and (found := standing(self._clickhouse, self._projection)) and found.hold != under:
            raise TablesHeld(found.reason)
        if self._fence is None:
            self.wait_for_predecessors(won)
        else:
            self._fence(self, won)
        return won

    def at(self, clickhouse: ClickHouse) -> Ledger:
        """The same ledger as another replica has it."""
        return Ledger(clickhouse, projection=self._projection, topic=self._topic, topic_id=self._topic_id)

    def touch(self) -> None:
        """Write a row that nobody reads among the claims."""
        Ledger(self._clickhouse, projection="_touched", topic="", topic_id="")._claimed({0: 0}, uuid.uuid4())

    def close(self, claims: Claims) -> set[int]:
        """Close the partitions of `claims` that still hold: nobody claims them here again, except a handover."""
        epochs = {part: claim.epoch | CLOSED for part, claim in claims.items()}
        return set(self._claimed(epochs, uuid.uuid4(), only=claims)) if epochs else set()

    def close_unclaimed(self, partitions: Collection[int]) -> None:
        """Close those of `partitions` that nobody ever claimed here."""
        top = self.greatest(partitions)
        if new := {part: CLOSED for part in partitions if part not in top}:
            self._claimed(new, uuid.uuid4())

    def _claimed(
        self,
        epochs: Mapping[int, int],
        owner: uuid.UUID,
        *,
        only: Claims | None = None,
        under: uuid.UUID | None = None,
    ) -> Claims:
        """Write a claim for each partition unless held, of `only` where those still hold; return what was won."""
        wanted = sorted(epochs)
        tuples = ", ".join(f"({part}, {epochs[part]})" for part in wanted)
        conditions = [unheld(under)]
        if only is not None:
            conditions.append(self.holds(only, wanted, "t.1"))
        self.write(
            "INSERT INTO projection_claims (projection_name, topic, topic_id, partition, epoch, owner) "
            "SELECT {projection:String}, {topic:String}, {topic_id:String}, t.1, t.2, {owner:UUID} "
            f"FROM (SELECT arrayJoin([{tuples}]) AS t) WHERE {' AND '.join(conditions)}",
            wanted,
            {"owner": str(owner)},
        )
        return {part: claim for part, claim in self.greatest(wanted).items() if claim.owner == owner}

    def predecessors(self, partitions: Collection[int]) -> int:
        """How many statements that name one of `partitions` run."""
        named = " OR ".join(f"position(comment, ',{part},') > 0" for part in sorted(partitions))
        [(running,)] = self._clickhouse.query(
            "SELECT count() FROM (SELECT Settings['log_comment'] AS comment FROM system.processes) "
            f"WHERE startsWith(comment, {{prefix:String}}) AND ({named})",
            {"prefix": self._comment_prefix},
        )
        return int(running)

    def wait_for_predecessors(
        self, partitions: Collection[int], *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Return once no statement that names one of `partitions` runs."""
        if not partitions:
            return
        waited = 0.0
        while running := self.predecessors(partitions):
            if waited and waited % WAIT_LOG_S < WAIT_POLL_S:
                _log.warning(
                    "waiting for %d statements of a predecessor on partitions %s", running, sorted(partitions)
                )
            sleep(WAIT_POLL_S)
            waited += WAIT_POLL_S

    def high_water(self, partitions: Collection[int]) -> dict[int, int]:
        """The last offset that is in every table, by partition; -1 where nothing is (offset 0 comes next)."""
        known = self._clickhouse.query(
            "SELECT partition, max(last_offset) FROM projection_ledger WHERE projection_name = {projection:String} "
            f"AND topic_id = {{topic_id:String}} AND partition IN ({int_list(sorted(partitions)) or '-1'}) "
            "GROUP BY partition",
            self.key,
        )
        return {**dict.fromkeys(partitions, -1), **dict(known)}

    def holds(self, claims: Claims, partitions: Collection[int], column: str) -> str:
        """SQL: `column` is a partition whose greatest claim is still the one in `claims`.

        Evaluated once, when the statement starts: with the wait of `claim` that is what fences a predecessor.
        """
        return f"{column} IN ({_still_held(claims, partitions)})"

    def all_held(self, claims: Claims) -> str:
        """SQL, true or an error (395): every partition's greatest claim is still the one in `claims`."""
        held = f"SELECT count() FROM ({_still_held(claims, list(claims))})"
        return f"throwIf(({held}) != {len(claims)}, 'steptrail: a claim was taken over') = 0"

    def not_in(self, table: str, batch: Batch) -> str:
        """SQL: the row's offset is not yet in `table`.

        Bounded by broker time, which is fixed for a Kafka record, so that only the parts of that time are read.
        """
        spans = " OR ".join(
            f"(kafka_partition = {part} AND kafka_offset BETWEEN {span.first} AND {span.last})"
            for part, span in sorted(batch.spans.items())
        )
        return (
            "(kafka_partition, kafka_offset) NOT IN (SELECT kafka_partition, kafka_offset "
            f"FROM {table} WHERE broker_time BETWEEN fromUnixTimestamp64Milli({batch.first_time_ms}, 'UTC') "
            f"AND fromUnixTimestamp64Milli({batch.last_time_ms}, 'UTC') "
            f"AND topic_id = {{topic_id:String}} AND ({spans}))"
        )

    def write(
        self,
        sql: str,
        partitions: Collection[int],
        parameters: Mapping[str, Any] | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Run a statement that writes, so that a successor on one of `partitions` can see and wait for it.

        `{projection:String}`, `{topic:String}` and `{topic_id:String}` in it are bound, and `parameters`.
        """
        named = ",".join(map(str, sorted(partitions)))
        comment = f"{self._comment_prefix}{self._instance}.{next(self._statements)}/,{named},"
        self._clickhouse.command(
            sql, {**self.key, **(parameters or {})}, settings={**(settings or {}), "log_comment": comment}
        )

    def record(self, claims: Claims, batch: Batch) -> set[int]:
        """Write the batch's ledger rows where the claim still holds, and read back which are there.

        Only those partitions may be committed; the others have been claimed by somebody else.
        """
        held = {part: span for part, span in sorted(batch.spans.items()) if part in claims}
        if not held:
            return set()
        rows = ", ".join(
            f"({part}, {span.first}, {span.last}, {span.rows}, {claims[part].epoch}, '{claims[part].owner}')"
            for part, span in held.items()
        )
        self.write(
            "INSERT INTO projection_ledger "
            "(projection_name, topic, topic_id, partition, first_offset, last_offset, rows, epoch, owner) "
            "SELECT {projection:String}, {topic:String}, {topic_id:String}, "
            "t.1 AS part, t.2, t.3, t.4, t.5, toUUID(t.6) "
            f"FROM (SELECT arrayJoin([{rows}]) AS t) WHERE {self.holds(claims, list(held), 'part')}",
            list(held),
        )
        written = ", ".join(f"({part}, {span.last}, '{claims[part].owner}')" for part, span in held.items())
        there = self._clickhouse.query(
            "SELECT DISTINCT partition FROM projection_ledger WHERE projection_name = {projection:String} "
            f"AND topic_id = {{topic_id:String}} AND partition IN ({int_list(list(held))}) "
            f"AND (partition, last_offset, toString(owner)) IN ({written})",
            self.key,
        )
        return {part for (part,) in there}

    @property
    def key(self) -> dict[str, Any]:
        """The parameters `projection`, `topic` and `topic_id` of its statements."""
        return {"projection": self._projection, "topic": self._topic, "topic_id": self._topic_id}

    @property
    def _comment_prefix(self) -> str:
        return f"steptrail/{self._clickhouse.database}.{self._projection}/{self._topic_id}/"

    def greatest(self, partitions: Collection[int]) -> dict[int, Claim]:
        """The claim that holds each partition, where there is one."""
        found = self._clickhouse.query(
            "SELECT partition, tupleElement(max((epoch, owner)), 1), tupleElement(max((epoch, owner)), 2) "
            "FROM projection_claims WHERE projection_name = {projection:String} AND topic_id = {topic_id:String} "
            f"AND partition IN ({int_list(sorted(partitions))}) GROUP BY partition",
            self.key,
        )
        return {part: Claim(epoch, holder) for part, epoch, holder in found}


def _still_held(claims: Claims, partitions: Collection[int]) -> str:
    mine = ", ".join(
        f"({part}, {claims[part].epoch}, '{claims[part].owner}')"
        for part in sorted(partitions)
        if part in claims
    )
    return (
        "SELECT partition FROM projection_claims "
        "WHERE projection_name = {projection:String} AND topic_id = {topic_id:String} "
        f"AND partition IN ({int_list(sorted(partitions))}) GROUP BY partition "
        "HAVING (partition, tupleElement(max((epoch, owner)), 1), toString(tupleElement(max((epoch, owner)), 2))) "
        f"IN ({mine})"
    )
