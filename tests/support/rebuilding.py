"""Rebuilds of the projector's tables in processes of their own, and what must hold of tables after each step."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from steptrail.consumers.rebuild.rebuilding import current, progress
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.lifecycle.folding import executions_of
from steptrail.projections.lifecycle.rebuilds import latest_rebuild
from steptrail.schemas.configuration.settings import Settings
from support.consumed import event_value
from support.projecting import Projected, produce
from support.stack import environ_of
from support.waiting import PATIENCE_S, until

Place = tuple[int, int]
"""Partition and offset."""

_NO_MERGES = "max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1"


@contextmanager
def unmerged(settings: Settings) -> Iterator[ClickHouse]:
    """A store in which a record that is there twice is not merged away; new tables are made as the live ones are."""
    with connect(settings) as clickhouse:
        for table in ("steps", "step_executions"):
            clickhouse.command(f"ALTER TABLE {table} MODIFY SETTING {_NO_MERGES}")
        yield clickhouse


def rebuild_process(settings: Settings, *words: str, **environ: str) -> subprocess.Popen[str]:
    """`steptrail rebuild WORDS` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "steptrail.deploy.cli", "rebuild", *words],
        env=environ_of(settings, **environ),
        stdout=subprocess.DEVNULL,
        stderr=tempfile.TemporaryFile("w+"),
        text=True,
    )


def kill_when_read(
    settings: Settings, store: ClickHouse, process: subprocess.Popen[str], offsets: int
) -> None:
    """Kill a rebuild with SIGKILL once its tables have so many offsets."""

    def far_enough() -> bool:
        assert process.poll() is None, "the rebuild ended before it could be killed"
        rebuild = current(store)
        if rebuild is None or not rebuild.tables:
            return False
        found = progress(settings, store, rebuild)
        return sum(each.next for each in found.partitions) >= offsets

    until(far_enough, f"{offsets} offsets in the new tables")
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_S)


def doubled(store: ClickHouse, table: str = "steps") -> list[tuple[object, ...]]:
    """Kafka records that a table has more than once."""
    return store.query(
        f"SELECT topic_id, kafka_partition, kafka_offset, count() FROM {table} "
        "GROUP BY topic_id, kafka_partition, kafka_offset HAVING count() > 1"
    )


@contextmanager
def load(settings: Settings) -> Iterator[dict[Place, object]]:
    """Events that go on being emitted; at the end it holds where all of them are."""
    sent: dict[Place, object] = {}
    stop = threading.Event()

    def emit() -> None:
        number = 0
        while not stop.is_set():
            sent.update(produce(settings, (event_value(doc_id=f"load-{number + n}") for n in range(60))))
            number += 60
            stop.wait(0.05)

    thread = threading.Thread(target=emit)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def require_exact(store: ClickHouse, places: set[Place]) -> None:
    """The live tables have each record of these places once, and their executions are the fold of them."""
    until(lambda: Projected(store).count() >= len(places), "all records in the live table")
    assert doubled(store) == []
    assert Projected(store).offsets() == sorted(places)
    folded, kept = executions_of("steps", "1"), "SELECT * FROM step_executions FINAL"
    for one, other in ((folded, kept), (kept, folded)):
        assert store.query(f"SELECT count() FROM ({one} EXCEPT {other})") == [(0,)]


def shadow(store: ClickHouse, table: str) -> str:
    """The name of a table of the rebuild that is not live."""
    rebuild = latest_rebuild(store)
    assert rebuild is not None
    [(name,)] = store.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND match(name, {pattern:String})",
        {"pattern": f"^(rebuild|before)_{rebuild.short}_{table}$"},
    )
    return str(name)
