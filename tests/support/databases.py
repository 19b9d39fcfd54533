"""Databases with every table and no row, for one test after another.

To make the tables takes a second of computing, and to empty them next to none. So a database is used again where it is
as it was made: the same tables, and nothing that still runs in it. Else it is dropped.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.schemas.configuration.settings import Settings

Reach = Callable[[str], Settings]
"""Settings by which a database of the stack is reached."""

_free: list[str] = []
_made: dict[str, list[tuple[object, ...]]] = {}
"""What `_state` said of each database when it was made."""


@contextmanager
def empty_database(reach: Reach) -> Iterator[str]:
    """The name of a database that nobody else uses."""
    name = _free.pop(0) if _free else _new(reach)
    try:
        yield name
    finally:
        with connect(reach(name)) as clickhouse:
            if _emptied(clickhouse, _made[name]):
                _free.append(name)
            else:
                _drop(clickhouse)


def drop_databases(reach: Reach) -> None:
    """Leave none behind."""
    while _free:
        with connect(reach(_free.pop())) as clickhouse:
            _drop(clickhouse)


def _new(reach: Reach) -> str:
    name = f"test_{secrets.token_hex(5)}"
    with connect(reach(name)) as clickhouse:
        try:
            migrate(clickhouse)
            _made[name] = _state(clickhouse)
        except BaseException:
            _drop(clickhouse)
            raise
    return name


def _emptied(clickhouse: ClickHouse, made: list[tuple[object, ...]]) -> bool:
    """Remove what a test wrote; False where what it left behind is more than rows."""
    if _state(clickhouse) != made:
        return False
    written = clickhouse.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
        " AND total_rows > 0 AND name NOT IN ('schema_migrations', 'erasure_key')"
    )
    for name in {"steps", *(name for (name,) in written)}:
        clickhouse.command(f"TRUNCATE TABLE `{name}` SYNC")
        clickhouse.command(f"SYSTEM START MERGES `{name}`")  # a test may have stopped them
    return True


def _state(clickhouse: ClickHouse) -> list[tuple[object, ...]]:
    """The tables, the rows that migrations wrote, and how many statements and mutations run."""
    return [
        *clickhouse.query(
            "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase() ORDER BY name"
        ),
        *clickhouse.query("SELECT * FROM schema_migrations ORDER BY ALL"),
        *clickhouse.query("SELECT toString(key) FROM erasure_key ORDER BY ALL"),
        *clickhouse.query(
            "SELECT (SELECT count() FROM system.processes WHERE current_database = currentDatabase()),"
            " (SELECT count() FROM system.mutations WHERE database = currentDatabase() AND NOT is_done)"
        ),
    ]


def _drop(clickhouse: ClickHouse) -> None:
    clickhouse.command(f"DROP DATABASE IF EXISTS `{clickhouse.database}` SYNC")
