"""Statements that write to the tables, as they stand in `system.processes`: who begins one, and who waits for them."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from steptrail.projections.clickhouse.errors import StoreRefused

if TYPE_CHECKING:
    from steptrail.projections.clickhouse.client import ClickHouse

_log = logging.getLogger("steptrail.projection")

WAIT_S = 300.0
_POLL_S = 0.02
_LOG_S = 5.0


def writer_comment(clickhouse: ClickHouse, name: str) -> str:
    """A `log_comment` for a writing statement of `name` that no other statement has.

    The ledger's statements have comments of their own with the same beginning, which name their partitions, too.
    """
    return f"{_prefix(clickhouse)}{name}/{uuid.uuid4().hex}"


def wait_for_writers(
    clickhouse: ClickHouse, *, timeout: float = WAIT_S, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Return once every writing statement that runs now has ended; those that begin later are not waited for.

    A statement stands in `system.processes` before it is interpreted: one that begins later sees all that was written
    before this was called. Raises StoreRefused after `timeout` seconds.
    """
    sql = (
        "SELECT DISTINCT Settings['log_comment'] AS comment FROM system.processes "
        "WHERE startsWith(comment, {prefix:String})"
    )
    awaited: set[str] | None = None
    begun = logged = time.monotonic()
    while True:
        found = {str(comment) for (comment,) in clickhouse.query(sql, {"prefix": _prefix(clickhouse)})}
        awaited = found if awaited is None else awaited & found
        if not awaited:
            return
        now = time.monotonic()
        if now - begun > timeout:
            raise StoreRefused(
                f"{len(awaited)} statements that write to the tables have been running for {timeout:g} s: "
                f"{', '.join(sorted(awaited))}\nsystem.processes shows them; try again once they have ended.",
                code=None,
                name=None,
            )
        if now - logged > _LOG_S:
            logged = now
            _log.warning("waiting for %d statements that write to the tables", len(awaited))
        sleep(_POLL_S)


def _prefix(clickhouse: ClickHouse) -> str:
    return f"steptrail/{clickhouse.database}."
