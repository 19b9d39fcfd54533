"""The figures of one run of the demonstration, from the store by SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steptrail.deploy.demo.pipeline import STEPS

if TYPE_CHECKING:
    from steptrail.projections.clickhouse.client import ClickHouse

COUNT = """
SELECT uniqExact(event_id), uniqExact(doc_id)
FROM steps
WHERE pipeline = {pipeline:String} AND emitter_id IN {emitters:Array(String)}
"""

BY_STEP = """
SELECT
    step_name,
    countIf(status = 'SUCCESS')                                     AS success,
    countIf(status = 'WARNING')                                     AS warning,
    countIf(status = 'ERROR')                                       AS error,
    countIf(status = 'FAILED')                                      AS failed,
    countIf(status = 'SKIPPED')                                     AS skipped,
    quantileExactIf(0.5)(duration_ms, duration_ms IS NOT NULL)      AS p50_ms,
    quantileExactIf(0.95)(duration_ms, duration_ms IS NOT NULL)     AS p95_ms
FROM
(
    SELECT * FROM steps
    WHERE pipeline = {pipeline:String} AND emitter_id IN {emitters:Array(String)}
    LIMIT 1 BY event_id
)
GROUP BY step_name
ORDER BY indexOf({steps:Array(String)}, step_name), step_name
"""

ERRORS = """
SELECT
    step_name,
    status,
    coalesce(error_type, '')       AS error_type,
    uniqExact(event_id)            AS events,
    argMin(coalesce(error_message, ''), (length(error_message), error_message)) AS example,
    argMin(doc_id, (length(error_message), error_message))                      AS example_doc
FROM steps
WHERE pipeline = {pipeline:String} AND emitter_id IN {emitters:Array(String)} AND status IN ('ERROR', 'FAILED')
GROUP BY step_name, status, error_type
ORDER BY events DESC, step_name, error_type
LIMIT 8
"""

#: A document worth looking at: one that was tried again after an error, with the most steps.
INTERESTING = """
SELECT doc_id
FROM steps
WHERE pipeline = {pipeline:String} AND emitter_id IN {emitters:Array(String)}
GROUP BY doc_id
ORDER BY (countIf(status = 'ERROR') > 0 AND max(attempt) > 1) DESC, uniqExact(step_name) DESC,
    countIf(status = 'FAILED') DESC, doc_id
LIMIT 1
"""

STORE = "SELECT count(), uniqExact(event_id), uniqExact(doc_id), uniqExact(emitter_id) FROM steps"


@dataclass(frozen=True)
class RunSummary:
    """`by_step` and `errors` are rows by column name; durations in milliseconds."""

    documents: int
    events: int
    by_step: list[dict[str, Any]]
    errors: list[dict[str, Any]]
    interesting: str | None
    store_events: int
    store_documents: int


class Run:
    """The events that the emitters of one run sent, as the store has them."""

    def __init__(self, clickhouse: ClickHouse, pipeline: str, emitter_ids: Sequence[str]) -> None:
        self._clickhouse = clickhouse
        self._parameters = {"pipeline": pipeline, "emitters": list(emitter_ids), "steps": list(STEPS)}

    def projected(self) -> tuple[int, int]:
        """Distinct events and documents of the run that are in the store."""
        ((events, documents),) = self._clickhouse.query(COUNT, self._parameters)
        return int(events), int(documents)

    def summary(self) -> RunSummary:
        """All figures of the report about the run, and the size of the whole store."""
        events, documents = self.projected()
        interesting = self._clickhouse.query(INTERESTING, self._parameters)
        ((_, store_events, store_documents, _emitters),) = self._clickhouse.query(STORE)
        return RunSummary(
            documents=documents,
            events=events,
            by_step=self._clickhouse.rows(BY_STEP, self._parameters),
            errors=self._clickhouse.rows(ERRORS, self._parameters),
            interesting=str(interesting[0][0]) if interesting else None,
            store_events=int(store_events),
            store_documents=int(store_documents),
        )
