"""Holds: while one stands, only its owner can claim partitions of a projection.

A claim keeps earlier writers out until somebody claims anew. A hold keeps everybody out until it is released, however
long its owner takes and even if it dies, because the statement that claims asks for holds. That makes it possible to
exchange a projection's tables, which no condition in a statement could guard.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import StoreRefused

_STANDING: Final = (
    "SELECT hold FROM projection_holds WHERE projection_name = {projection:String} "
    "GROUP BY hold HAVING max(released) = 0"
)


class TablesHeld(StoreRefused):
    """The projection's tables are being exchanged: wait until the hold is released."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, code=None, name=None)


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold that stands, and what its owner says of it."""

    hold: uuid.UUID
    reason: str


def unheld(own: uuid.UUID | None = None) -> str:
    """SQL: no hold but `own` stands for the projection named by the parameter `projection`."""
    others = "" if own is None else f" WHERE hold != toUUID('{own}')"
    return f"(SELECT count() FROM ({_STANDING}){others}) = 0"


def standing(clickhouse: ClickHouse, projection: str) -> Hold | None:
    """The hold that stands for a projection, if one does."""
    found = clickhouse.query(
        "SELECT hold, any(reason) FROM projection_holds WHERE projection_name = {projection:String} "
        "GROUP BY hold HAVING max(released) = 0 ORDER BY hold LIMIT 1",
        {"projection": projection},
    )
    return Hold(uuid.UUID(str(found[0][0])), str(found[0][1])) if found else None


def hold(clickhouse: ClickHouse, projection: str, identity: uuid.UUID, reason: str) -> None:
    """Hold a projection; claims that were made before stand until they are claimed from their owners."""
    _write(clickhouse, projection, identity, reason, released=False)


def release(clickhouse: ClickHouse, projection: str, identity: uuid.UUID) -> None:
    """Let claims be made again. Releasing twice changes nothing."""
    _write(clickhouse, projection, identity, "", released=True)


def _write(
    clickhouse: ClickHouse, projection: str, identity: uuid.UUID, reason: str, *, released: bool
) -> None:
    clickhouse.command(
        "INSERT INTO projection_holds (projection_name, hold, released, reason) "
        "SELECT {projection:String}, {hold:UUID}, {released:Bool}, {reason:String}",
        {"projection": projection, "hold": str(identity), "released": released, "reason": reason},
    )
