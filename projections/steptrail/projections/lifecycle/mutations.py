"""Statements that take rows out of parts: sent, then waited for, since they may take longer than a connection lives."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import StoreRefused
from steptrail.projections.lifecycle.stored_tables import EventTable

WAIT_S: Final = 1800.0
FAILING_S: Final = 30.0
_FIRST_POLL_S: Final = 0.02
_LONGEST_POLL_S: Final = 1.0
# A condition with a subquery counts as one that may differ between replicas; those here read what never changes.
_SETTINGS: Final = {
    "mutations_sync": 0,
    "lightweight_deletes_sync": 0,
    "allow_nondeterministic_mutations": 1,
}


def hide(clickhouse: ClickHouse, table: str, condition: str, *, timeout: float = WAIT_S) -> None:
    """Hide the rows of `table` that meet `condition` from every query, and return once that is so.

    They stay in the parts until `take_out`, or until the parts are merged.
    """
    clickhouse.command(f"DELETE FROM {table} WHERE {condition}", settings=_SETTINGS)
    wait_for_mutations(clickhouse, table, timeout=timeout)


def take_out(clickhouse: ClickHouse, table: EventTable, *, timeout: float = WAIT_S) -> None:
    """Write the parts of `table` that have hidden rows anew, without them."""
    found = clickhouse.query(
        "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = {table:String} "
        "AND active AND has_lightweight_delete",
        {"table": table.name},
    )
    if found[0][0]:
        clickhouse.command(f"ALTER TABLE {table.name} APPLY DELETED MASK", settings=_SETTINGS)
        for projection in table.projections:
            clickhouse.command(
                # A table that was set aside before this version made its projection does not have it.
                f"ALTER TABLE {table.name} MATERIALIZE PROJECTION IF EXISTS {projection}",
                settings=_SETTINGS,
            )
    wait_for_mutations(clickhouse, table.name, timeout=timeout)


def delete(clickhouse: ClickHouse, table: str, condition: str, *, timeout: float = WAIT_S) -> None:
    """Write the parts of `table` anew that have rows which meet `condition`, without these."""
    clickhouse.command(f"ALTER TABLE {table} DELETE WHERE {condition}", settings=_SETTINGS)
    wait_for_mutations(clickhouse, table, timeout=timeout)


def unfinished(clickhouse: ClickHouse, table: str) -> list[tuple[str, str]]:
    """Id of each mutation of `table` that is not done, and why the latest try failed, "" where none did."""
    return [
        (str(mutation), str(reason))
        for mutation, reason in clickhouse.query(
            "SELECT mutation_id, latest_fail_reason FROM system.mutations "
            "WHERE database = currentDatabase() AND table = {table:String} AND NOT is_done ORDER BY create_time",
            {"table": table},
        )
    ]


def wait_for_mutations(
    clickhouse: ClickHouse,
    table: str,
    *,
    timeout: float,
    failing: float = FAILING_S,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once no mutation of `table` is under way.

    Raises StoreRefused after `timeout` seconds, or when one has been failing for `failing` seconds (a full disk, …).
    """
    begun = time.monotonic()
    failing_since: float | None = None
    pause = _FIRST_POLL_S
    while under_way := unfinished(clickhouse, table):
        now = time.monotonic()
        reason = next((why for _, why in under_way if why), "")
        failing_since = (failing_since or now) if reason else None
        if now - begun > timeout or (failing_since is not None and now - failing_since > failing):
            why = reason or "merges are stopped, or others come first"
            raise StoreRefused(
                f"mutation {under_way[0][0]} of table {table} is not done after {now - begun:.0f} s: {why}\n"
                "ClickHouse goes on with it by itself once it can (is the disk full?); run the command again then, to "
                "see it through. system.mutations shows how far it is.",
                code=None,
                name=None,
            )
        sleep(pause)
        pause = min(2 * pause, _LONGEST_POLL_S)
