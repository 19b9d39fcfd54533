"""Bytes on disk for an event, in all tables together, once the parts are merged."""

from __future__ import annotations

from bench.figure import Figure
from bench.scale.world import DATABASE, World

BOUND = 110


def measure(world: World) -> Figure:
    """All tables of the store; by table, by projection, and the largest columns beside it."""
    where = f"active AND database = '{DATABASE}'"
    with world.connect() as clickhouse:
        tables = dict(
            clickhouse.query(
                f"SELECT table, sum(bytes_on_disk) FROM system.parts WHERE {where} GROUP BY table"
            )
        )
        projections = dict(
            clickhouse.query(
                f"SELECT name, sum(bytes_on_disk) FROM system.projection_parts WHERE {where} GROUP BY name"
            )
        )
        columns = clickhouse.query(
            "SELECT concat(table, '.', column), sum(column_data_compressed_bytes) AS bytes "
            f"FROM system.parts_columns WHERE {where} GROUP BY table, column ORDER BY bytes DESC LIMIT 12"
        )
        parts = dict(
            clickhouse.query(f"SELECT table, count() FROM system.parts WHERE {where} GROUP BY table")
        )
    largest = dict(sorted(tables.items(), key=lambda each: -each[1])[:8])
    total = sum(tables.values()) / world.events
    return Figure(
        "bytes_per_event",
        total,
        "bytes",
        f"<= {BOUND}",
        total <= BOUND,
        {
            "by_table": {table: size / world.events for table, size in largest.items()},
            "of_steps_in_projections": {name: size / world.events for name, size in projections.items()},
            "largest_columns": {column: size / world.events for column, size in columns},
            "parts": {table: parts[table] for table in largest},
        },
    )
