"""Rebuilds as they are written down: a row for each state, the latest of which holds."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, Final

import orjson

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.queries import Store, ask_sql


class RebuildState(str, Enum):
    """How far a rebuild is; the migration says what each means."""

    STARTED = "STARTED"
    COPIED = "COPIED"
    FILLED = "FILLED"
    EXCHANGING = "EXCHANGING"
    EXCHANGED = "EXCHANGED"
    RETURNING = "RETURNING"
    RETURNED = "RETURNED"
    DROPPED = "DROPPED"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """A rebuild in one of its states.

    `begins` maps a partition to the first offset that is read from the topic; rows of earlier ones are copied from the
    live tables. With `pipelines`, so are rows of others up to the offset in `cuts`. `tables` maps a table's name to
    the UUID of the one that was built. `at` is when it came to its state, None before it is written.
    """

    rebuild: uuid.UUID
    topic: str
    topic_id: str
    requested_by: str
    pipelines: tuple[str, ...] = ()
    since: datetime | None = None
    begins: Mapping[int, int] = field(default_factory=dict)
    cuts: Mapping[int, int] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    state: RebuildState = RebuildState.STARTED
    number: int = 0
    at: datetime | None = None

    def now(self, state: RebuildState) -> Rebuild:
        """The same, come to another state."""
        return replace(self, state=state, number=self.number + 1, at=None)

    @property
    def short(self) -> str:
        """What it is called in the names of its tables."""
        return self.rebuild.hex[:8]


_LATEST: Final = """
SELECT rebuild, toString(state) AS latest, number, at, topic, topic_id, pipelines,
    if(since IS NULL, NULL, toUnixTimestamp64Micro(assumeNotNull(since))) AS since_us,
    begins, cuts, tables, requested_by
FROM rebuilds
WHERE rebuild = (SELECT argMax(rebuild, at) FROM rebuilds WHERE number = 0)
ORDER BY number DESC, at DESC
LIMIT 1
"""


def write(clickhouse: ClickHouse, rebuild: Rebuild) -> Rebuild:
    """Write down that a rebuild came to its state; returns it as it was given."""
    row: dict[str, Any] = {
        "rebuild": str(rebuild.rebuild),
        "number": rebuild.number,
        "state": rebuild.state.value,
        "topic": rebuild.topic,
        "topic_id": rebuild.topic_id,
        "pipelines": list(rebuild.pipelines),
        "since": None if rebuild.since is None else rebuild.since.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "begins": {str(partition): offset for partition, offset in rebuild.begins.items()},
        "cuts": {str(partition): offset for partition, offset in rebuild.cuts.items()},
        "tables": dict(rebuild.tables),
        "requested_by": rebuild.requested_by,
    }
    clickhouse.command(f"INSERT INTO rebuilds ({', '.join(row)}) FORMAT JSONEachRow", data=orjson.dumps(row))
    return rebuild


def latest_rebuild(store: Store) -> Rebuild | None:
    """The rebuild that was begun last, in its latest state; None where there never was one."""
    from steptrail.schemas.event import datetime_from_us

    for row in ask_sql(store, _LATEST, {}):
        return Rebuild(
            uuid.UUID(str(row["rebuild"])),
            row["topic"],
            row["topic_id"],
            row["requested_by"],
            tuple(row["pipelines"]),
            None if row["since_us"] is None else datetime_from_us(int(row["since_us"])),
            {int(partition): int(offset) for partition, offset in row["begins"].items()},
            {int(partition): int(offset) for partition, offset in row["cuts"].items()},
            dict(row["tables"]),
            RebuildState(row["latest"]),
            int(row["number"]),
            row["at"],
        )
    return None
