"""The order of the tests: files that take long before those that take a moment, so that all processes end together.

A file stays in one process (`--dist loadfile`), which builds what its tests share once. Processes take one file after
another in this order; a file that takes a minute and is taken last is a minute in which the other processes idle.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

LONGEST = (
    "test_cli_terminal", "test_pages", "test_stack_lifecycle", "test_backup_faults", "test_cli_schemas",
    "test_dead_letters", "test_reading_now", "test_projector_faults", "test_schema_registry",
    "test_health_consumer", "test_emitter_exits", "test_interruptions", "test_backup", "test_web_api",
    "test_grants", "test_retention", "test_cli_lifecycle", "test_alerts", "test_cli_sql_shell",
    "test_cli", "test_cli_freshness", "test_storage_contract", "test_cli_lists", "test_grafana",
    "test_alerts_sources", "test_reading_windows", "test_demo", "test_rebuild", "test_loop", "test_docs",
    "test_questions", "test_spool", "test_erasure", "test_error_groups", "test_aggregates",
    "test_stalls", "test_reader", "test_engine_fence", "test_clocks", "test_projector", "test_storage",
    "test_resent",
)  # fmt: skip
"""Measured (`--durations`), the longest first. Where this is out of date a run takes some seconds more."""

_ROOMS = ("integration", "property", "docs")
"""Of the other files, those of these folders first: they wait for services, or try by numbers."""


def longest_first(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """The same tests by file; within a file as they were."""
    return sorted(items, key=lambda item: _place(item.path))


def _place(path: Path) -> tuple[int, str]:
    if path.stem in LONGEST:
        return LONGEST.index(path.stem), str(path)
    room = next((place for place, name in enumerate(_ROOMS) if name in path.parts), len(_ROOMS))
    return len(LONGEST) + room, str(path)
