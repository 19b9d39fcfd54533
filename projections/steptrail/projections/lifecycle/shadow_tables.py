"""The tables of a rebuild beside the live ones: the new ones while they are filled, the old ones after the exchange.

The new tables of rebuild 1a2b3c4d are `rebuild_1a2b3c4d_steps` and so on. Once they are live, the old ones are called
`before_1a2b3c4d_steps`. Either set has a ledger of its own, under its prefix without the last underscore.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from enum import Enum
from typing import Final

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.delivery.spec import ProjectionSpec
from steptrail.projections.lifecycle.rebuilds import Rebuild
from steptrail.projections.lifecycle.stored_tables import EVENT_TABLES, EventTable
from steptrail.projections.tables.step_events import STEP_EVENTS

REBUILT: Final = tuple(target.table for target in STEP_EVENTS.targets)
"""The tables that are rebuilt: those that the projector fills from the topic of steps."""

_FIRST: Final = REBUILT[0]
_PREFIX: Final = re.compile(rf"((?:rebuild|before)_[0-9a-f]{{8}}_){_FIRST}")


class Side(str, Enum):
    """One of the two sets of tables; the value begins their names while they are not the live ones."""

    NEW = "rebuild"
    OLD = "before"

    @property
    def other(self) -> Side:
        """The other set."""
        return Side.OLD if self is Side.NEW else Side.NEW


def ledger_name(side: Side, rebuild: Rebuild) -> str:
    """The name of the set's ledger while it is not live."""
    return f"{side.value}_{rebuild.short}"


def table_name(side: Side, rebuild: Rebuild, table: str) -> str:
    """The name of a table of the set while it is not live."""
    return f"{ledger_name(side, rebuild)}_{table}"


def shadow_spec(side: Side, rebuild: Rebuild) -> ProjectionSpec:
    """The projection of step events into the set's tables: the same as the live one in everything else."""
    only = ""
    if rebuild.pipelines and side is Side.NEW:
        names = ", ".join(f"unhex('{name.encode().hex()}')" for name in rebuild.pipelines)
        partitions = ", ".join(str(int(partition)) for partition in rebuild.cuts)
        cuts = ", ".join(str(int(offset)) for offset in rebuild.cuts.values())
        cut = f"transform(kafka_partition, [{partitions}], [{cuts}], toInt64(-1))" if rebuild.cuts else "-1"
        only = f"(kafka_offset > {cut} OR pipeline IN ({names}))"
    targets = tuple(
        replace(target, table=table_name(side, rebuild, target.table), only=only)
        for target in STEP_EVENTS.targets
    )
    return replace(STEP_EVENTS, name=ledger_name(side, rebuild), targets=targets)


def shadow_prefixes(clickhouse: ClickHouse) -> list[str]:
    """What the names of tables begin with that stand beside live ones; empty where there is no rebuild."""
    found = clickhouse.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND endsWith(name, {first:String})",
        {"first": f"_{_FIRST}"},
    )
    matches = (_PREFIX.fullmatch(str(name)) for (name,) in found)
    return sorted(match[1] for match in matches if match is not None)


def shadow_event_tables(prefixes: Iterable[str]) -> list[EventTable]:
    """The tables with events that stand beside live ones."""
    return [
        replace(
            table,
            name=f"{prefix}{table.name}",
            stays=None
            if table.stays is None
            else table.stays.replace(f"FROM {_FIRST} ", f"FROM {prefix}{_FIRST} "),
        )
        for prefix in prefixes
        for table in EVENT_TABLES
        if table.name in REBUILT
    ]


def create_tables(clickhouse: ClickHouse, rebuild: Rebuild) -> dict[str, str]:
    """Create the new tables, empty and made as the live ones are; returns the UUID of each by the live one's name."""
    for table in REBUILT:
        clickhouse.command(f"CREATE TABLE IF NOT EXISTS {table_name(Side.NEW, rebuild, table)} AS {table}")
    found = table_uuids(clickhouse)
    return {table: found[table_name(Side.NEW, rebuild, table)] for table in REBUILT}


def drop_tables(clickhouse: ClickHouse, prefix: str) -> None:
    """Drop the tables that begin with one of `shadow_prefixes`, the one by which they are found last."""
    for table in reversed(REBUILT):
        clickhouse.command(
            f"DROP TABLE IF EXISTS {prefix}{table} SYNC",
            settings={"max_table_size_to_drop": 0, "max_partition_size_to_drop": 0},
        )


def table_uuids(clickhouse: ClickHouse) -> dict[str, str]:
    """The UUID of each table of the database by its name now."""
    return {
        str(name): str(identity)
        for name, identity in clickhouse.query(
            "SELECT name, toString(uuid) FROM system.tables WHERE database = currentDatabase()"
        )
    }
