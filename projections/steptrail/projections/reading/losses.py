"""What was lost, by which worker: what emitters say they dropped, and what is missing in their sequences."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from steptrail.projections.clickhouse.queries import Store, ask, micros, positive, scope
from steptrail.projections.reading.spans import BEFORE_ALL
from steptrail.schemas.event import datetime_from_us


@dataclass(frozen=True, slots=True)
class WorkerLosses:
    """What became of the events of one worker's emitters. Of these `not_closed` ended without a last report, or run.

    `missing`: events that were accepted and are not in the tables, dropped and failed ones among them; those of an
    emitter that runs may be on their way. `reasons`: why events were dropped or failed, with how many.
    """

    worker: str
    pipeline: str
    emitters: int
    not_closed: int
    accepted: int
    arrived: int
    missing: int
    dropped: int
    failed: int
    reasons: dict[str, int]
    last_heard_at: datetime | None


def losses_by_worker(
    store: Store, pipeline: str | None, since: datetime | None, limit: int = 100, *, everyone: bool = False
) -> list[WorkerLosses]:
    """Workers heard of since then that lost something, or `everyone`; those that lost most first."""
    parameters = {
        **scope(pipeline, store),
        "start_us": micros("since", since, BEFORE_ALL),
        "all": everyone,
        "fetch": positive("limit", limit),
    }
    return [
        WorkerLosses(
            worker=row["worker"],
            pipeline=row["pipeline"],
            emitters=int(row["emitters"]),
            not_closed=int(row["not_closed"]),
            accepted=int(row["accepted"]),
            arrived=int(row["arrived"]),
            missing=int(row["missing"]),
            dropped=int(row["dropped"]),
            failed=int(row["failed"]),
            reasons=_reasons(row["reasons"]),
            last_heard_at=datetime_from_us(int(row["last_ms"]) * 1000) if row["last_ms"] else None,
        )
        for row in ask(store, "losses_by_worker", parameters)
    ]


def _reasons(texts: Iterable[str]) -> dict[str, int]:
    """The counts of all reports together: their objects `dropped` and `failed` by reason."""
    found: Counter[str] = Counter()
    for text in texts:
        told = json.loads(text or "{}")
        for kind in ("dropped", "failed"):
            counts = told.get(kind)
            if isinstance(counts, dict):
                found.update({str(why): int(n) for why, n in counts.items() if isinstance(n, int)})
    return dict(found)
