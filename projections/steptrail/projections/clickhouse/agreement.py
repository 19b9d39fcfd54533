"""Whether servers are what the settings take them for: replicas of one shard, shards of one cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import QueryError, SchemaMismatch, StoreRefused
from steptrail.projections.clickhouse.layouts import CLAIMS
from steptrail.schemas.errors import InfrastructureError


def require_replicas(replicas: Sequence[ClickHouse]) -> None:
    """Raise SchemaMismatch unless the servers have the macro `shard` in common, and not the macro `replica`.

    Replicas that do not answer are left out.
    """
    asked = "SELECT getMacro('shard'), getMacro('replica')"
    answers = [(address, shard, name) for address, [(shard, name)] in _answers(replicas, asked)]
    for (one, shard, name), (other, other_shard, other_name) in combinations(answers, 2):
        both = f"{one} and {other} are replicas of one shard by STEPTRAIL_CLICKHOUSE_SERVERS"
        if shard != other_shard:
            raise SchemaMismatch(
                f"{both}, but their macro `shard` is {shard} and {other_shard}. Nothing was changed."
                " Correct the setting, where replicas of a shard have vertical bars between"
                " them, or the macros in their configuration"
            )
        if name == other_name:
            raise SchemaMismatch(
                f"{both}, but their macro `replica` is {name} on both. Nothing was changed. Give each server a name of"
                " its own in its configuration"
            )


def require_same_tables(replicas: Sequence[ClickHouse]) -> None:
    """Raise SchemaMismatch unless the replicas have the same migrations, and the same rows of Keeper as claims.

    Replicas that do not answer are left out: what they have is checked before anything is written through them.
    """
    claims = f"SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = '{CLAIMS}'"
    for (one, mine), (other, theirs) in combinations(_answers(replicas, claims), 2):
        if mine != theirs:
            raise SchemaMismatch(
                f"the claims of {one} and {other} are not the same rows of Keeper:"
                f" {_shown(mine)} and {_shown(theirs)}. Nothing was written. Did the macro"
                " `shard` change after the tables were made? Put it back; or drop the database on"
                " the server that is new, and run `steptrail migrate`"
            )
    applied = "SELECT version, argMin(checksum, applied_at) FROM schema_migrations GROUP BY version"
    for (one, mine), (other, theirs) in combinations(_answers(replicas, applied), 2):
        if differing := set(mine) ^ set(theirs):
            raise SchemaMismatch(
                f"{one} and {other} have different tables: migration {min(differing)[0]:04d} is not the same on both."
                " Nothing was written. Run `steptrail migrate`, which has to reach every replica"
            )


def require_cluster(clickhouse: ClickHouse, cluster: str, shards: int) -> None:
    """Raise SchemaMismatch unless the server knows `cluster`, with at least so many shards.

    A user that may not select from system.clusters cannot know, and is not refused.
    """
    sql = "SELECT cluster, uniqExact(shard_num) FROM system.clusters GROUP BY cluster ORDER BY cluster"
    try:
        known = {str(name): int(count) for name, count in clickhouse.query(sql)}
    except StoreRefused as error:
        if error.name != "ACCESS_DENIED":
            raise
        return
    where = f"`remote_servers` in the configuration of ClickHouse at {clickhouse.address}"
    if cluster not in known:
        raise SchemaMismatch(
            f"there is no cluster {cluster!r} in {where}; there is {', '.join(known) or 'none'}. Nothing was changed."
            " Set STEPTRAIL_CLICKHOUSE_CLUSTER to one of them, or add it there"
        )
    if known[cluster] < shards:
        raise SchemaMismatch(
            f"the cluster {cluster!r} has {known[cluster]} shards, and STEPTRAIL_CLICKHOUSE_SERVERS names {shards}:"
            f" what is written to the others could not be read. Nothing was changed. Add them to {where}"
        )


def _answers(stores: Sequence[ClickHouse], sql: str) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    for store in stores:
        try:
            yield store.address, store.query(sql)
        except InfrastructureError:
            continue
        except QueryError as error:
            raise SchemaMismatch(
                f"{error}\nA replica needs the macros `shard` and `replica` in its configuration, and the tables that"
                " `steptrail migrate` makes. Nothing was changed"
            ) from error


def _shown(rows: Sequence[tuple[Any, ...]]) -> str:
    return str(rows[0][0]) if rows else "none"
