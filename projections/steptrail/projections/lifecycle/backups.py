"""Backups as they are written down in the table `backups`, which is itself part of every backup."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final

import orjson

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import QueryError
from steptrail.projections.clickhouse.queries import Store, ask_sql
from steptrail.projections.tables.health_events import HEALTH_EVENTS
from steptrail.schemas.errors import SteptrailError

DISK: Final = "backups"
"""The disk of a backup that is given by name."""
DATABASE: Final = "steptrail"
"""The name of the database inside a backup, whatever the store's is called."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_TARGET: Final = re.compile(r"(Disk|File|S3|AzureBlobStorage)\((.*)\)", re.DOTALL)
_LITERAL: Final = re.compile(r"'((?:[^'\\]|\\.|'')*)'")
_TABLE_UNKNOWN: Final = (60, 81)


class BackupRefused(SteptrailError):
    """The backup or restore is not possible now; nothing was changed. The message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class BackupState(str, Enum):
    """What a row says of a backup; the migration says what each means."""

    STARTED = "STARTED"
    CREATED = "CREATED"
    RESTORED = "RESTORED"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a backup is: a name on the disk `backups`, or ClickHouse's Disk(…), File(…), S3(…), AzureBlobStorage(…).

    Raises BackupRefused for anything else.
    """

    given: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.given) and not _TARGET.fullmatch(self.given):
            raise BackupRefused(
                f"{self.shown!r} is no place for a backup.",
                "give a name of letters, digits and . _ -, or ClickHouse's Disk('…', '…'), File('…'), S3('…', …) or "
                "AzureBlobStorage(…).",
            )

    @property
    def sql(self) -> str:
        """As BACKUP and RESTORE take it."""
        return f"Disk('{DISK}', '{self.given}')" if self.named else self.given

    @property
    def named(self) -> bool:
        """Whether it is a name on the disk `backups`."""
        return _NAME.fullmatch(self.given) is not None

    @property
    def shown(self) -> str:
        """Without keys: of S3 and Azure the first argument alone, without what follows a question mark."""
        found = _TARGET.fullmatch(self.given)
        if found is None or found[1] in ("Disk", "File"):
            return self.given
        first = re.sub(r"//[^/@]*@", "//", found[2].partition(",")[0].partition("?")[0].strip(" '"))
        return f"{found[1]}('{first}', …)"

    def without_secrets(self, text: str) -> str:
        """An error message without the target's keys."""
        text = text.replace(self.given, self.shown)
        for secret in _LITERAL.findall(self.given):
            if secret and f"'{secret}'" not in self.shown:
                text = text.replace(secret, "***")
        return text


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup; the migration says what each field means. `at` is None before it is written.

    Keys of `positions` are projection/topic id/partition, those of `marks` topic id/partition.
    """

    backup: uuid.UUID
    name: str
    migration: int
    positions: Mapping[str, int]
    marks: Mapping[str, int]
    version: int
    tables: Mapping[str, int]
    views: tuple[str, ...]
    bytes: int
    topics: str
    requested_by: str
    state: BackupState = BackupState.STARTED
    at: datetime | None = field(default=None, compare=False)


def write(clickhouse: ClickHouse, backup: Backup) -> None:
    """Write down that a backup came to its state."""
    row: dict[str, Any] = {name: getattr(backup, name) for name in backup.__slots__ if name != "at"}
    row["state"] = backup.state.value
    row["backup"] = str(backup.backup)
    clickhouse.command(f"INSERT INTO backups ({', '.join(row)}) FORMAT JSONEachRow", data=orjson.dumps(row))


def backups(store: Store, table: str = "backups") -> list[Backup]:
    """Every row of the table of backups, the latest first."""
    return [
        Backup(
            uuid.UUID(str(row["backup"])),
            row["name"],
            int(row["migration"]),
            dict(row["positions"]),
            dict(row["marks"]),
            int(row["version"]),
            dict(row["tables"]),
            tuple(row["views"]),
            int(row["bytes"]),
            row["topics"],
            row["requested_by"],
            BackupState(row["state"]),
            row["at"],
        )
        for row in ask_sql(store, f"SELECT * FROM {table} ORDER BY at DESC, state DESC", {})
    ]


def was_restored(clickhouse: ClickHouse) -> bool:
    """Whether this store was restored from a backup: what consumer groups have committed says nothing of it then."""
    return bool(clickhouse.query("SELECT 1 FROM backups WHERE state = 'RESTORED' LIMIT 1"))


def is_catching_up(clickhouse: ClickHouse) -> bool:
    """Whether a restored store lacks counts of events that its topic had when it was restored."""
    try:
        found = clickhouse.query(
            "SELECT 1 FROM (SELECT argMax(positions, at) AS ends FROM backups WHERE state = 'RESTORED') "
            "ARRAY JOIN ends AS one LEFT JOIN (SELECT concat({projection:String}, '/', topic_id, '/', "
            "toString(partition)) AS key, max(counted_to) AS counted FROM aggregate_marks GROUP BY key) AS mark "
            "ON mark.key = one.1 WHERE startsWith(one.1, {prefix:String}) AND one.2 >= 0 "
            "AND (mark.key = '' OR mark.counted < one.2) LIMIT 1",
            {"projection": HEALTH_EVENTS.name, "prefix": f"{HEALTH_EVENTS.name}/"},
        )
    except QueryError as error:
        if error.code in _TABLE_UNKNOWN:
            return False
        raise
    return bool(found)
