"""Every table, and whether it holds events or copies of their text: what erasure and retention must reach.

A test compares this with the tables that the migrations make, so that a new one is not forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_EVENT_TIME: Final = "least(timestamp, toDateTime64(broker_time, 6, 'UTC'))"


@dataclass(frozen=True, slots=True)
class EventTable:
    """A table with events or copies of their text; it has a column `pipeline`.

    `time` is SQL for the time from which retention counts a row's age. `happened` is SQL for the time that is compared
    with an erasure's, None for a table whose rows are counted from `health_events`: of these, `minute` names the
    column with the begin of the minute or hour. `stays` is SQL for rows that retention leaves, however old they are.
    `projections` are rebuilt when a part of it is written anew.
    """

    name: str
    time: str
    happened: str | None = None
    minute: str | None = None
    stays: str | None = None
    projections: tuple[str, ...] = ()


STEPS: Final = EventTable("steps", "broker_time", _EVENT_TIME, projections=("p_by_time",))
HEALTH_EVENTS: Final = EventTable("health_events", "broker_time", _EVENT_TIME)

EVENT_TABLES: Final = (
    STEPS,
    EventTable(
        "step_executions",
        "last_any",
        "first_any",
        # Events that came late with an old time: `steps` keeps them by when the broker had them.
        stays="(pipeline, doc_id) IN "
        "(SELECT pipeline, doc_id FROM steps WHERE timestamp < {before} AND broker_time >= {before})",
    ),
    HEALTH_EVENTS,
    EventTable("observations", "broker_time", "started_at"),
    EventTable("dead_letters", "broker_time", "source_time"),
    EventTable("step_minute_rows", "minute", minute="minute"),
    EventTable("step_metric_rows", "minute", minute="minute"),
    EventTable("error_group_minutes", "minute", minute="minute"),
    EventTable("error_group_hours", "hour", minute="hour"),
    EventTable(
        "health_verdicts",
        "at",
        # The latest verdict of each step is how it is now.
        stays="(pipeline, step_name, slot) IN "
        "(SELECT pipeline, step_name, max(slot) FROM health_verdicts GROUP BY pipeline, step_name)",
    ),
)
"""Tables that retention reaches. Those with `happened` hold documents, those with `minute` examples and metrics of
them; a verdict speaks of steps alone."""

OTHER_TABLES: Final[Mapping[str, str]] = {
    "aggregate_marks": "offsets",
    "backups": "offsets, and properties of topics",
    "dead_letter_decisions": "offsets, and what people wrote",
    "emitter_reports": "counts of an emitter; without them, or a part of them, losses could not be told",
    "emitter_sequences": "one bit for each event of an emitter; without them losses could not be told",
    "erased_documents": "hashes; without them erased documents would come back",
    "erasure_key": "a key",
    "erasures": "counts and times of erasures",
    "error_group_actions": "what people decided",
    "error_group_rules": "rules",
    "expected_steps_declarations": "what people declared",
    "health_losses": "counts by slot and pipeline",
    "health_sight": "reports of the health consumer; has a TTL of its own",
    "health_snapshots": "counts by step; a ring of fixed size",
    "projection_claims": "the delivery ledger",
    "projection_holds": "the delivery ledger",
    "projection_ledger": "the delivery ledger",
    "rebuilds": "offsets, and what people asked for",
    "retention_changes": "rules",
    "schema_migrations": "migrations",
    "topic_gaps": "offsets",
}
"""The other tables, and what they hold instead of events."""


def document_tables() -> tuple[EventTable, ...]:
    """The tables whose rows name a document."""
    return tuple(table for table in EVENT_TABLES if table.happened is not None)


def counted_tables() -> tuple[EventTable, ...]:
    """The tables whose rows are counted from `health_events`."""
    return tuple(table for table in EVENT_TABLES if table.minute is not None)
