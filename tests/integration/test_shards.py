"""Two shards on two engine servers behind a real Kafka: each record in one of them, once, whatever happens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from steptrail.consumers.loop.lag import projector_lag
from steptrail.projections.clickhouse.shards import Shards, connect_shards
from steptrail.projections.cluster.handover import placements
from steptrail.schemas.configuration.settings import Settings
from support.consumed import event_value
from support.effort import ONLY_IN_TEST_ALL
from support.engine import EngineServer
from support.projecting import produce, projectors
from support.sharded import all_rows, of_shards, rows, second_engine, two_shards
from support.stack import Stack, environ_of
from support.waiting import until

pytestmark = ONLY_IN_TEST_ALL

__all__ = ["second_engine"]


@pytest.fixture
def sharded(stack: Stack, second_engine: EngineServer) -> Iterator[Settings]:
    with two_shards(stack, second_engine) as settings:
        yield settings


def steptrail(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "steptrail.deploy.cli", *arguments]
    environ = environ_of(settings, COLUMNS="160")
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environ)


def owned(shards: Shards, number: int) -> set[int]:
    return {part for part, _ in rows(shards.stores[number])}


def test_kills_and_rebalances_leave_each_record_in_its_shard_once(sharded: Settings) -> None:
    """Projectors come, are killed with -9 and are followed by others while records arrive."""
    sent = set(produce(sharded, (event_value() for _ in range(6_000))))
    with connect_shards(sharded) as shards:
        small = {"STEPTRAIL_BATCH_MAX_EVENTS": "300"}
        with projectors(sharded, 2, **small) as running:
            until(lambda: len(all_rows(shards)) > 600, "first rows")
            running[0].signal(signal.SIGKILL)
            sent |= set(produce(sharded, (event_value() for _ in range(600))))
            with projectors(sharded, 1, **small) as [another]:
                until(lambda: len(all_rows(shards)) > 3_000, "rows after the kill")
                another.signal(signal.SIGKILL)
                until(lambda: len(all_rows(shards)) >= len(sent), "projection of everything")
        assert all_rows(shards) == sorted(sent)
        assert owned(shards, 0) == {0, 2, 4}
        assert owned(shards, 1) == {1, 3, 5}
        until(lambda: projector_lag(sharded).lag_events == 0, "ledgers up to the end")


def test_a_shard_that_is_added_gets_nothing_before_the_handover(sharded: Settings) -> None:
    """Then its partitions go on there: the new projector waits meanwhile and says for what; the old one is refused."""
    one = of_shards(sharded, 0)
    sent = set(produce(sharded, (event_value() for _ in range(1_200))))
    with connect_shards(sharded) as shards:
        with projectors(one):
            until(lambda: len(rows(shards.stores[0])) == 1_200, "projection into one shard")
        sent |= set(produce(sharded, (event_value() for _ in range(600))))
        with projectors(sharded) as [projector]:
            until(lambda: "steptrail shards --hand-over" in projector.said(), "refusal with the remedy")
            assert rows(shards.stores[1]) == []
            for options in ([], ["--hand-over"]):  # which is a dry run
                told = steptrail(sharded, "shards", *options)
                assert told.returncode == 1, told.stderr
            assert "Nothing was changed" in told.stderr
            told = steptrail(sharded, "shards", "--hand-over", "--yes", "--json")
            assert told.returncode == 0, told.stderr
            placed = [json.loads(line) for line in told.stdout.splitlines()]
            steps = {each["partition"]: each["open_in"] for each in placed if each["projection"] == "steps"}
            assert steps == {part: [part % 2] for part in range(6)}
            until(lambda: len(all_rows(shards)) >= len(sent), "projection after the handover")
        assert all_rows(shards) == sorted(sent)
        assert {part for part, _ in rows(shards.stores[1])} == {1, 3, 5}
        with projectors(one) as [outdated]:
            until(lambda: "another shard has them" in outdated.said(), "refusal of who knows one shard")
        assert all_rows(shards) == sorted(sent)


def test_another_order_of_the_shards_writes_nothing(sharded: Settings) -> None:
    """A partition stays where its ledger is."""
    sent = set(produce(sharded, (event_value() for _ in range(600))))
    with connect_shards(sharded) as shards:
        with projectors(sharded):
            until(lambda: len(all_rows(shards)) == 600, "projection")
        produce(sharded, (event_value() for _ in range(600)))
        with projectors(of_shards(sharded, 1, 0)) as [swapped]:
            until(lambda: "Nothing was written" in swapped.said(), "refusal")
        assert all_rows(shards) == sorted(sent)


def test_a_shard_can_be_emptied_of_partitions(sharded: Settings) -> None:
    """With --use 1 all go to the first shard; the second one's rows stay, and the first goes on alone."""
    sent = set(produce(sharded, (event_value() for _ in range(600))))
    with connect_shards(sharded) as shards:
        with projectors(sharded):
            until(lambda: len(all_rows(shards)) == 600, "projection")
        done = steptrail(sharded, "shards", "--use", "1", "--hand-over", "--yes")
        assert done.returncode == 0, done.stderr
        sent |= set(produce(sharded, (event_value() for _ in range(600))))
        with projectors(of_shards(sharded, 0)):
            until(lambda: len(all_rows(shards)) >= len(sent), "projection into the one left")
        assert all_rows(shards) == sorted(sent)
        assert all(each.right for each in placements(Shards(shards.stores, 1)))
