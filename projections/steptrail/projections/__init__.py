"""ClickHouse: migrations, staging, the ledger, the projections and the reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steptrail.projections.storage import open_storage as open_storage

__all__ = ["open_storage"]


def __getattr__(name: str) -> Any:
    # Loaded at first use: the ledger and the migrations are wanted without a reader's dependencies.
    if name == "open_storage":
        from steptrail.projections.storage import open_storage

        return open_storage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
