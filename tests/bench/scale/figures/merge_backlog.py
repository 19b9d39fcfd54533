"""What merging is behind with while 100,000 events come in a second, as batches of the projector's size."""

from __future__ import annotations

import time

from bench.figure import Figure
from bench.scale.filling import SEED, add_batch
from bench.scale.world import DATABASE, World
from bench.store import settle
from steptrail.projections.clickhouse.client import ClickHouse

RATE = 100_000
SECONDS = 60
_PARTITIONS = 6
_TABLES = ("steps", "step_executions")


def measure(world: World) -> Figure:
    """Most parts of a table in one partition of it meanwhile (ClickHouse slows inserts at 1,000)."""
    seconds = SECONDS if not world.session.quick else 10
    each = world.session.scaled(RATE)
    most_parts = dict.fromkeys(_TABLES, 0)
    most_merging = events = behind = 0
    took: list[float] = []
    with world.connect() as clickhouse, world.peak_memory() as memory:
        [(last,)] = clickhouse.query(f"SELECT max(kafka_offset) FROM {SEED}.steps")
        copy, offset = world.next_copy(), 0
        began = time.perf_counter()
        for number in range(seconds):
            ahead = began + number - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
            behind = max(behind, int(-ahead))
            started = time.perf_counter()
            end = offset + each // _PARTITIONS
            events += add_batch(clickhouse, copy, offset, end)
            took.append(time.perf_counter() - started)
            offset = end
            if offset > last:
                copy, offset = world.next_copy(), 0
            parts, merging = _backlog(clickhouse)
            most_parts = {table: max(most_parts[table], parts.get(table, 0)) for table in _TABLES}
            most_merging = max(most_merging, merging)
        elapsed = time.perf_counter() - began
        left, _ = _backlog(clickhouse)
        settled_s = settle(clickhouse)
    world.events += events
    world.remember()
    return Figure(
        "merge_backlog",
        max(most_parts.values()),
        "parts",
        "",
        True,
        {
            "events_per_s": events / elapsed,
            "asked_events_per_s": each,
            "seconds_behind": behind,
            "batch_s": {"mean": sum(took) / len(took), "max": max(took)},
            "most_parts": most_parts,
            "parts_at_end": {table: left.get(table, 0) for table in _TABLES},
            "most_merges_at_once": most_merging,
            "merged_after_s": settled_s,
            "engine_peak_mb": memory["peak_mb"],
        },
    )


def _backlog(clickhouse: ClickHouse) -> tuple[dict[str, int], int]:
    """Parts of the fullest partition by table, and how many merges run."""
    parts = clickhouse.query(
        "SELECT table, max(parts) FROM (SELECT table, partition, count() AS parts FROM system.parts "
        f"WHERE active AND database = '{DATABASE}' GROUP BY table, partition) GROUP BY table"
    )
    [(merging,)] = clickhouse.query("SELECT count() FROM system.merges")
    return {str(table): int(count) for table, count in parts}, int(merging)
