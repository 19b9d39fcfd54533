"""Bytes on disk for an event: `steps` with its projection in time order, and all tables together.

Measured on the store of 1M generated events once its parts are merged.
"""

from __future__ import annotations

from bench.figure import Figure
from bench.session import Session

BOUND_STEPS = 70
BOUND_ALL = 180


def measure(session: Session) -> Figure:
    """Merge what is left to merge, then ask the engine for the size of its parts."""
    with session.store.connect("small") as clickhouse:
        for table in ("steps", "step_executions"):
            clickhouse.command(f"OPTIMIZE TABLE {table} FINAL")
        events = clickhouse.query("SELECT count() FROM steps")[0][0]
        by_table = dict(
            clickhouse.query(
                "SELECT table, sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'small' GROUP BY table"
            )
        )
        by_projection = dict(
            clickhouse.query(
                "SELECT name, sum(bytes_on_disk) FROM system.projection_parts "
                "WHERE active AND database = 'small' GROUP BY name"
            )
        )
        columns = clickhouse.query(
            "SELECT column, sum(column_data_compressed_bytes) AS bytes FROM system.parts_columns "
            "WHERE active AND database = 'small' AND table = 'steps' GROUP BY column ORDER BY bytes DESC LIMIT 8"
        )
        uncompressed = clickhouse.query(
            "SELECT sum(data_uncompressed_bytes) FROM system.parts "
            "WHERE active AND database = 'small' AND table = 'steps'"
        )[0][0]
    steps = by_table["steps"] / events
    everything = sum(by_table.values()) / events
    return Figure(
        "bytes_per_event",
        steps,
        "bytes",
        f"<= {BOUND_STEPS} for steps, <= {BOUND_ALL} for all tables",
        steps <= BOUND_STEPS and everything <= BOUND_ALL,
        {
            "all_tables": everything,
            "by_table": {table: size / events for table, size in by_table.items()},
            "of_steps_in_projections": {name: size / events for name, size in by_projection.items()},
            "largest_columns": {column: size / events for column, size in columns},
            "uncompressed": uncompressed / events,
            "events": events,
        },
    )
