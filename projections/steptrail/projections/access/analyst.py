"""People who only read: within bounds of time, memory and rows, and, if asked, some pipelines alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from steptrail.projections.access.relations import relations, with_what_they_read

LIMITS: Final[Mapping[str, int]] = {
    "max_execution_time": 60,
    "max_memory_usage": 4 << 30,
    "max_result_rows": 1_000_000,
    "max_result_bytes": 1 << 30,
    "max_temporary_data_on_disk_size_for_query": 8 << 30,
    "max_threads": 8,
}
"""Bounds of one statement: seconds, bytes, rows, threads. A statement may ask for less, not for more, nor for none."""
MAX_STATEMENTS: Final = 8
"""Statements of one analyst at a time."""

_OF_NOBODY: Final = frozenset(
    ("error_group_rules", "health_sight", "projection_ledger", "topic_gaps", "aggregate_marks")
)
"""Tables without a pipeline that tell nothing of one: thresholds, freshness, progress."""
_RELATED: Final[Mapping[str, str]] = {
    "dead_letter_decisions": (
        "(topic, source_topic_id, source_partition, source_offset) IN "
        "(SELECT topic, source_topic_id, source_partition, source_offset FROM {database}.dead_letters WHERE {own})"
    ),
    "error_group_actions": "group_id IN (SELECT group_id FROM {database}.error_group_hours WHERE {own})",
}
"""Tables without a pipeline whose rows are about rows of another table that has one."""


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def row_conditions(database: str, pipelines: tuple[str, ...]) -> dict[str, str]:
    """By table: SQL that is true for the rows that somebody may see who may see these pipelines alone.

    `database` is quoted already.
    """
    own = f"pipeline IN ({', '.join(map(literal, pipelines))})"
    found = {}
    for name, relation in relations().items():
        if "pipeline" in relation.columns:
            found[name] = own
        elif name in _RELATED:
            found[name] = _RELATED[name].format(database=database, own=own)
    return found


def visible_relations() -> list[str]:
    """What somebody who sees some pipelines alone may select from: tables that can be told apart, and their views."""
    seen = {*row_conditions("", ()), *_OF_NOBODY}
    return [
        name
        for name, relation in relations().items()
        if name in seen or (relation.is_view and not _tables_of(name) - seen)
    ]


def _tables_of(view: str) -> set[str]:
    return {name for name in with_what_they_read([view]) if not relations()[name].is_view}
