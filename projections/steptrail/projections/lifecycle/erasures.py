"""Erasures as they are written down: tombstones, and a record for each state that an erasure came to."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any, Final

import orjson

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.queries import Store, ask_sql


class ErasureState(str, Enum):
    """How far an erasure is; the migration says what each means."""

    BEGUN = "BEGUN"
    FOUND = "FOUND"
    HIDDEN = "HIDDEN"
    DONE = "DONE"


@dataclass(frozen=True, slots=True)
class Erasure:
    """A record of an erasure. `erased_to_us` is in microseconds since 1970, `minutes` are pairs (pipeline, begin in
    seconds). `at` is when it came to its state, None before it is written.
    """

    request: uuid.UUID
    state: ErasureState
    pipelines: tuple[str, ...]
    documents: int
    rows: Mapping[str, int]
    erased_to_us: int
    requested_by: str
    reason: str
    minutes: tuple[tuple[str, int], ...] = ()
    at: datetime | None = None

    def now(self, state: ErasureState, **more: Any) -> Erasure:
        """The same, come to another state."""
        return replace(self, state=state, at=None, **more)


_LATEST: Final = """
SELECT request, toString(max((state, at)).1) AS latest, max((state, at)).2 AS latest_at,
    argMax(pipelines, state) AS pipelines, argMax(documents, state) AS documents, argMax(rows, state) AS rows,
    toUnixTimestamp64Micro(argMax(erased_to, state)) AS erased_to_us,
    argMax(requested_by, state) AS requested_by, argMax(reason, state) AS reason, min(at) AS begun_at
FROM erasures
GROUP BY request
ORDER BY begun_at, request
"""


def write(clickhouse: ClickHouse, erasure: Erasure) -> None:
    """Write down that an erasure came to its state; the same again is harmless."""
    row = {
        "request": str(erasure.request),
        "state": erasure.state.value,
        "pipelines": list(erasure.pipelines),
        "documents": erasure.documents,
        "rows": dict(erasure.rows),
        "erased_to": f"{erasure.erased_to_us // 1_000_000}.{erasure.erased_to_us % 1_000_000:06d}",
        "requested_by": erasure.requested_by,
        "reason": erasure.reason,
        "minutes": [list(minute) for minute in erasure.minutes],
    }
    clickhouse.command(f"INSERT INTO erasures ({', '.join(row)}) FORMAT JSONEachRow", data=orjson.dumps(row))


def erasures(store: Store) -> list[Erasure]:
    """Every erasure in its latest state, the first that was asked for first; without its minutes."""
    return [
        Erasure(
            uuid.UUID(str(row["request"])),
            ErasureState(row["latest"]),
            tuple(row["pipelines"]),
            int(row["documents"]),
            dict(row["rows"]),
            int(row["erased_to_us"]),
            row["requested_by"],
            row["reason"],
            at=row["latest_at"],
        )
        for row in ask_sql(store, _LATEST, {})
    ]


def unfinished(store: Store) -> list[Erasure]:
    """Those that were begun and did not come to their end."""
    return [erasure for erasure in erasures(store) if erasure.state is not ErasureState.DONE]


def minutes_of(store: Store, request: uuid.UUID) -> Sequence[tuple[str, int]]:
    """The minutes that an erasure found, as pairs (pipeline, begin in seconds)."""
    rows = ask_sql(
        store,
        "SELECT DISTINCT one.1 AS pipeline, toUnixTimestamp(one.2) AS begin FROM erasures ARRAY JOIN minutes AS one "
        "WHERE request = {request:UUID} ORDER BY pipeline, begin",
        {"request": str(request)},
    )
    return [(row["pipeline"], int(row["begin"])) for row in rows]
