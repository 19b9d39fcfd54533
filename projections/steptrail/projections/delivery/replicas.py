"""A projection into a shard that has replicas: one claim is one replica, R, for everything done under it.

Claims are rows of Keeper (`clickhouse.layouts`), the same for all replicas; but a replica reads Keeper, and fetches
parts, later than they are written. So a claim is used only after a fence (decision 0036):

1. **barrier**: every replica, asked directly, returns the claim;
2. **wait**: on none of them a statement of a predecessor runs. One that does not answer needs not be asked once Keeper,
   read through R after the claim, has it as not active: its inserts with quorum cannot commit any more, and when it has
   a new session it reads the claim. One that is active and does not answer is waited for;
3. **touch**: R writes to Keeper, so that what it reads from now on is no older;
4. **settle**: no part is left whose quorum is open, and that could still be withdrawn;
5. **sync**: R has fetched what is in the log, and dropped what was withdrawn.

Every insert needs the acknowledgement of a majority. On any fault another replica is claimed through.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from steptrail.projections.clickhouse.agreement import require_replicas, require_same_tables
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import ClaimLost
from steptrail.projections.clickhouse.layouts import Replica
from steptrail.projections.delivery.batch import Batch
from steptrail.projections.delivery.ledger import Claims, Ledger
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.delivery.spec import ProjectionSpec
from steptrail.projections.delivery.staging import SetAside
from steptrail.schemas.errors import InfrastructureError

_log = logging.getLogger("steptrail.ledger")
_T = TypeVar("_T")

POLL_S = 0.05
LOG_S = 5.0


class Fence:
    """The fence of claims made through `chosen`, one of `replicas`; `tables` are those written under them."""

    def __init__(self, replicas: Sequence[ClickHouse], chosen: ClickHouse, tables: Collection[str]) -> None:
        self._replicas = tuple(replicas)
        self._chosen = chosen
        self._tables = sorted(tables)

    def __call__(
        self, ledger: Ledger, claims: Claims, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Return once `claims` may be used. Raises ClaimLost when they were taken meanwhile, InfrastructureError."""
        if not claims:
            return
        self._ask_all(ledger, claims, sleep)
        ledger.touch()
        _until(self._is_settled, lambda: "parts whose quorum is open", sleep)
        for table in self._tables:
            self._chosen.command(f"SYSTEM SYNC REPLICA {table} LIGHTWEIGHT")

    def _ask_all(self, ledger: Ledger, claims: Claims, sleep: Callable[[float], None]) -> None:
        answered: set[str] = set()
        silent: dict[ClickHouse, str] = dict.fromkeys(self._replicas, "")

        def passed() -> bool:
            # A claim that was taken after the chosen replica had returned it is never returned by the others.
            if self._chosen not in silent and ledger.greatest(claims) != dict(claims):
                raise ClaimLost("another consumer has claimed the partitions meanwhile")
            for replica in list(silent):
                try:
                    answered.add(self._answer(ledger.at(replica), replica, claims))
                    del silent[replica]
                except _NotYet as reason:
                    silent[replica] = str(reason)
            return not silent or self._active() <= answered

        def why() -> str:
            return "; ".join(f"{replica.address}, which {reason}" for replica, reason in silent.items())

        _until(passed, why, sleep)

    def _answer(self, ledger: Ledger, replica: ClickHouse, claims: Claims) -> str:
        """The name of a replica that returns the claims, and on which nobody else writes; raises _NotYet for others."""
        try:
            standing = ledger.greatest(claims)
            if standing != dict(claims) and replica is self._chosen:
                raise ClaimLost("another consumer has claimed the partitions meanwhile")
            if standing != dict(claims):
                raise _NotYet(
                    "does not return the claim: if this goes on, check that it reaches the same Keeper, with the same"
                    " `keeper_map_path_prefix`"
                )
            if ledger.predecessors(claims):
                raise _NotYet(
                    "still runs a statement of the consumer before: it ends by itself, or by KILL QUERY"
                )
            [(name,)] = replica.query("SELECT getMacro('replica')")
        except ClaimLost:
            raise
        except InfrastructureError as error:
            if replica is self._chosen:
                raise
            raise _NotYet(
                f"does not answer ({error}), and is active by Keeper: make it reachable, or stop it"
            ) from error
        return str(name)

    def _active(self) -> set[str]:
        """The replicas that Keeper has as active in any of the tables, as R reads it; R is among them."""
        found = self._replicas_of_tables("replica_is_active")
        active = {name for [by_name] in found for name, is_active in by_name.items() if is_active}
        return active or {"every replica, since none is known"}

    def _is_settled(self) -> bool:
        paths = [f"{path}/quorum/parallel" for [path] in self._replicas_of_tables("zookeeper_path")]
        if not paths:
            return True
        sql = "SELECT count() FROM system.zookeeper WHERE path IN {paths:Array(String)}"
        return not self._chosen.query(sql, {"paths": paths})[0][0]

    def _replicas_of_tables(self, column: str) -> list[tuple[Any, ...]]:
        if not self._tables:
            return []
        return self._chosen.query(
            f"SELECT {column} FROM system.replicas WHERE database = currentDatabase() "
            "AND table IN {tables:Array(String)}",
            {"tables": self._tables},
        )


class ReplicatedProjection:
    """Does for the replicas of a shard what `Projection` does for one store; it raises what that raises."""

    def __init__(
        self, replicas: Sequence[ClickHouse], spec: ProjectionSpec, *, topic: str, topic_id: str
    ) -> None:
        self._replicas = tuple(replicas)
        tables = {"projection_ledger", *(target.table for target in spec.targets)}
        self._projections = [
            Projection(
                store,
                spec,
                topic=topic,
                topic_id=topic_id,
                fence=Fence(replicas, store, tables),
                rendering=Replica(store.database),
            )
            for store in replicas
        ]
        self._current = 0
        self._failed = False

    @property
    def held(self) -> frozenset[int]:
        """The partitions that are claimed, as far as is known."""
        return self._projections[self._current].held

    def prepare(self, *, accept_recreated: bool = False) -> None:
        """As `Projection.prepare`, on the replica in use, once those that answer are replicas of each other."""
        require_replicas(self._replicas)
        require_same_tables(self._replicas)
        self._tried(lambda projection: projection.prepare(accept_recreated=accept_recreated))

    def has_predecessor(self) -> bool:
        """As `Projection.has_predecessor`."""
        return self._tried(lambda projection: projection.has_predecessor())

    def record_gap(self, partition: int, first_offset: int, last_offset: int, reason: str) -> None:
        """As `Projection.record_gap`."""
        self._tried(lambda projection: projection.record_gap(partition, first_offset, last_offset, reason))

    def open(self, partitions: Collection[int]) -> dict[int, int]:
        """As `Projection.open`; after a fault, through another replica."""
        return self._tried(lambda projection: projection.open(partitions))

    def release(self, partitions: Collection[int]) -> None:
        """As `Projection.release`."""
        for each in self._projections:
            each.release(partitions)

    def write(self, batch: Batch, set_aside: SetAside | None = None) -> dict[int, int]:
        """As `Projection.write`, to the replica that the claims were made through."""
        try:
            return self._projections[self._current].write(batch, set_aside)
        except InfrastructureError:
            self._failed = True
            raise

    def _tried(self, call: Callable[[Projection], _T]) -> _T:
        moved = self._failed
        if moved:
            self._failed = False
            self._current = (self._current + 1) % len(self._projections)
            for each in self._projections:
                each.release(each.held)
        try:
            if moved:  # nothing is written through a replica whose tables are others
                self._projections[self._current].prepare(accept_recreated=True)
            return call(self._projections[self._current])
        except InfrastructureError:
            self._failed = True
            raise


class _NotYet(Exception):
    """A replica cannot be counted on yet, for this reason."""


def _until(condition: Callable[[], bool], what: Callable[[], str], sleep: Callable[[float], None]) -> None:
    waited = 0.0
    while not condition():
        if waited and waited % LOG_S < POLL_S:
            _log.warning("a claim waits for %s", what())
        sleep(POLL_S)
        waited += POLL_S
