"""ClickHouse: the connection, its errors, migrations, named queries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steptrail.projections.clickhouse.client import ClickHouse as ClickHouse
    from steptrail.projections.clickhouse.client import connect as connect

__all__ = ["ClickHouse", "connect"]


def __getattr__(name: str) -> Any:
    # Loaded at first use: the errors are wanted where clickhouse-connect is not installed.
    if name in __all__:
        from steptrail.projections.clickhouse import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
