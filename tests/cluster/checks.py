"""What must hold on a real cluster, which `make cluster-test` starts: not run by `make test`, which has no Docker.

Written after the list of decision 0036; none of it has been run yet.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator

import pytest

from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.shards import Shards, connect_shards
from steptrail.projections.cluster.databases import databases, migrate_all
from steptrail.projections.cluster.handover import hand_over, placements
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import ensure_topics
from support.consumed import event_value
from support.projecting import produce, projectors
from support.waiting import until

COMPOSE = ("docker", "compose", "-f", "deploy/cluster/compose.yaml")
PORTS = {"clickhouse-0-0": 18123, "clickhouse-0-1": 18124, "clickhouse-1-0": 18125, "clickhouse-1-1": 18126}


def docker(*arguments: str) -> None:
    subprocess.run([*COMPOSE, *arguments], check=True, capture_output=True, timeout=300)


@pytest.fixture
def cluster() -> Iterator[Settings]:
    """A workspace of its own on the cluster: two shards of two replicas."""
    name = f"test_{secrets.token_hex(5)}"
    urls = [f"http://default@127.0.0.1:{port}/{name}_local" for port in PORTS.values()]
    settings = Settings(
        kafka="127.0.0.1:19092",
        clickhouse=f"http://default@127.0.0.1:18123/{name}",
        clickhouse_layout="sharded_replicated",
        clickhouse_servers=f"{urls[0]}|{urls[1]},{urls[2]}|{urls[3]}",
        topic_prefix=name,
        replication_factor=1,
    )
    migrate_all(settings)
    ensure_topics(settings)
    try:
        yield settings
    finally:
        docker("unpause", *PORTS)
        for database in databases(settings):
            with ClickHouse(database.target) as store:
                store.command(f"DROP DATABASE IF EXISTS `{database.target.database}` SYNC")


@pytest.fixture
def shards(cluster: Settings) -> Iterator[Shards]:
    with connect_shards(cluster) as connected:
        for replicas in connected.replicas:
            for store in replicas:
                store.command("SYSTEM STOP MERGES steps")
        yield connected


def rows(shards: Shards) -> list[tuple[int, int]]:
    """Every raw row of both shards, each as its first replica has it when it has fetched everything."""
    sql = "SELECT kafka_partition, kafka_offset FROM steps"
    for store in shards.stores:
        store.command("SYSTEM SYNC REPLICA steps")
    return sorted((int(p), int(o)) for store in shards.stores for p, o in store.query(sql))


def test_migrations_run_twice(cluster: Settings) -> None:
    """Every statement of every database is taken, and again nothing is to be done."""
    assert all(not applied for _, applied, _ in migrate_all(cluster))


def test_each_event_is_in_its_shard_once_and_read_over_both(cluster: Settings, shards: Shards) -> None:
    """Written to replicas, read through the Distributed tables and the views over them."""
    sent = produce(cluster, (event_value(doc_id=f"doc-{n}") for n in range(3_000)))
    with projectors(cluster, 2):
        until(lambda: len(rows(shards)) >= len(sent), "projection")
    assert rows(shards) == sorted(sent)
    with connect(cluster) as reading:
        assert reading.query("SELECT count(), uniqExact(doc_id) FROM steps") == [(3_000, 3_000)]
        assert reading.query("SELECT count() FROM step_state") == [(3_000,)]
        assert reading.query("SELECT count() FROM step_executions FINAL") == [(3_000,)]


@pytest.mark.parametrize("frozen", PORTS)
def test_a_frozen_server_loses_and_doubles_nothing(cluster: Settings, shards: Shards, frozen: str) -> None:
    """Longer than its session with Keeper, in the middle of writing; it comes back and catches up."""
    sent = set(produce(cluster, (event_value() for _ in range(3_000))))
    with projectors(cluster, 2, STEPTRAIL_BATCH_MAX_EVENTS="100"):
        until(lambda: len(rows(shards)) > 300, "first rows")
        docker("pause", frozen)
        sent |= set(produce(cluster, (event_value() for _ in range(3_000))))
        active = "SELECT min(arrayMin(mapValues(replica_is_active))) FROM system.replicas"
        other = next(name for name in PORTS if name[:-1] == frozen[:-1] and name != frozen)
        with ClickHouse(
            Settings(clickhouse=f"http://default@127.0.0.1:{PORTS[other]}").clickhouse_target()
        ) as peer:
            until(lambda: peer.query(active) == [(0,)], "end of the session")
        docker("unpause", frozen)
        until(lambda: len(rows(shards)) >= len(sent), "projection of everything")
    assert rows(shards) == sorted(sent)


@pytest.mark.parametrize("keeper", ["keeper-1", "keeper-2", "keeper-3"])
def test_a_keeper_that_is_killed_loses_and_doubles_nothing(
    cluster: Settings, shards: Shards, keeper: str
) -> None:
    """The leader or not."""
    sent = set(produce(cluster, (event_value() for _ in range(3_000))))
    with projectors(cluster, 2, STEPTRAIL_BATCH_MAX_EVENTS="100"):
        until(lambda: len(rows(shards)) > 300, "first rows")
        docker("kill", keeper)
        sent |= set(produce(cluster, (event_value() for _ in range(600))))
        until(lambda: len(rows(shards)) >= len(sent), "projection of everything")
    docker("up", "--detach", keeper)
    assert rows(shards) == sorted(sent)


def test_a_partition_moves_between_replicated_shards(cluster: Settings, shards: Shards) -> None:
    """All to the first shard, and back."""
    sent = set(produce(cluster, (event_value() for _ in range(600))))
    for used in (2, 1, 2):
        placed = Shards(shards.stores, used, replicas=shards.replicas)
        for placement in placements(placed):
            hand_over(placed, placement)
        assert all(each.right for each in placements(placed))
        if used == 2:
            sent |= set(produce(cluster, (event_value() for _ in range(600))))
            wanted = len(sent)
            with projectors(cluster):
                until(lambda wanted=wanted: len(rows(shards)) >= wanted, "projection")  # type: ignore[misc]
            assert rows(shards) == sorted(sent)


def test_reading_with_a_shard_away_is_an_error(cluster: Settings) -> None:
    """Not half an answer."""
    docker("pause", "clickhouse-1-0", "clickhouse-1-1")
    with connect(cluster, timeout=60) as reading, pytest.raises(Exception, match="clickhouse-1"):
        reading.query("SELECT count() FROM steps")
