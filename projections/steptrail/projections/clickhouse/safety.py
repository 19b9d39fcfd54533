"""Refuses a ClickHouse, or settings of its tables, under which rows can be lost or arrive later than said."""

from __future__ import annotations

import logging
import re
from typing import Final

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import SchemaMismatch, StoreRefused

_log = logging.getLogger("steptrail.projection")

# Releases in which an insert with quorum that was cancelled while its commit was uncertain no longer deletes parts that
# were committed: https://github.com/ClickHouse/ClickHouse/issues/111196. Later series have the fix from their start.
_FIXED_IN: Final = ((26, 3, 33, 61), (26, 6, 5, 114), (26, 7, 7, 87), (26, 8, 3, 98))
_REPLICATED: Final = re.compile(r"^(?:Replicated|Shared)\w*MergeTree")
_ASYNCHRONOUS: Final = re.compile(r"\basync_insert = (\w+)")


def require_safe(clickhouse: ClickHouse) -> None:
    """Raise SchemaMismatch, which names the remedy, where the tables cannot keep what they are given.

    - A table with the setting `async_insert`: it wins over that of our statements, and rows would land after the
      statement that brings them has ended, which the ledger takes for done.
    - A replicated table in a release that may delete committed parts.
    """
    found = clickhouse.query(
        "SELECT name, engine, engine_full FROM system.tables WHERE database = currentDatabase() "
        "AND engine LIKE '%MergeTree' ORDER BY name"
    )
    [(version,)] = clickhouse.query("SELECT version()")
    by_default = _asynchronous_by_default(clickhouse)
    asynchronous = [name for name, _, full in found if _is_on(_setting(full) or by_default)]
    if asynchronous:
        first = f"{clickhouse.database}.{asynchronous[0]}"
        raise SchemaMismatch(
            f"asynchronous inserts are on for the tables {', '.join(asynchronous)}, and rows would land after they were"
            f" counted as written. Switch them off, for each: ALTER TABLE {first} MODIFY SETTING async_insert = 0"
        )
    replicated = [name for name, engine, _ in found if _REPLICATED.match(engine)]
    if replicated and (remedy := upgrade_for(version)) is not None:
        raise SchemaMismatch(
            f"ClickHouse {version} may delete committed parts of replicated tables ({replicated[0]} is one): {remedy}"
        )


def _asynchronous_by_default(clickhouse: ClickHouse) -> object:
    """What holds for tables that do not say; None, and a line in the log, where the user may not ask."""
    try:
        found = clickhouse.query("SELECT value FROM system.merge_tree_settings WHERE name = 'async_insert'")
    except StoreRefused as error:
        if error.name != "ACCESS_DENIED":
            raise
        _log.warning(
            "whether asynchronous inserts are on by default is not known: the user may not select from"
            " system.merge_tree_settings (`steptrail grants` prints the right)"
        )
        return None
    return found[0][0] if found else None


def upgrade_for(version: str) -> str | None:
    """What to upgrade to from a release that may lose parts of replicated tables; None where it need not be."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:4])
    if numbers[:2] > _FIXED_IN[-1][:2]:
        return None
    for fixed in _FIXED_IN:
        if numbers[:2] == fixed[:2]:
            return None if numbers >= fixed else f"upgrade to {_shown(fixed)} or later"
    newer = next(fixed for fixed in _FIXED_IN if fixed[:2] > numbers[:2])
    return f"this series has no fix: upgrade to {_shown(newer)} or later"


def _setting(engine_full: str) -> str | None:
    found = _ASYNCHRONOUS.search(engine_full)
    return None if found is None else found[1]


def _is_on(value: object) -> bool:
    return str(value).lower() in ("1", "true")


def _shown(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
