"""A store for readers that counts the statements that it is asked."""

from __future__ import annotations

from typing import Any

from steptrail.projections.clickhouse.client import ClickHouse


class Asked:
    """Passes statements on, and counts them."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self.statements = 0

    def rows(self, *arguments: Any, **more: Any) -> list[dict[str, Any]]:
        """As `ClickHouse.rows`."""
        self.statements += 1
        return self._clickhouse.rows(*arguments, **more)
