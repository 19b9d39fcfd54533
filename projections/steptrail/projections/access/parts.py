"""What each part of steptrail needs in ClickHouse. One definition, from which `steptrail grants` writes its SQL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from steptrail.projections.access.relations import MIGRATIONS_TABLE, relations, tables, with_what_they_read
from steptrail.projections.delivery.spec import ProjectionSpec
from steptrail.projections.lifecycle.shadow_tables import REBUILT, Side
from steptrail.projections.lifecycle.stored_tables import EVENT_TABLES
from steptrail.projections.tables.dead_letters import DEAD_LETTERS
from steptrail.projections.tables.emitter_reports import EMITTER_REPORTS
from steptrail.projections.tables.health_events import HEALTH_EVENTS
from steptrail.projections.tables.observations import OBSERVATIONS
from steptrail.projections.tables.step_events import STEP_EVENTS

_LEDGER = ("projection_claims", "projection_ledger", "topic_gaps")
_DECISIONS = ("dead_letter_decisions", "error_group_actions")
_AGGREGATES = (
    *("step_minute_rows", "step_metric_rows", "error_group_minutes", "error_group_hours"),
    "aggregate_marks",
)
_ERASED = ("erasure_key", "erased_documents")
_SHADOWS = tuple(f"{side.value}_*" for side in Side)
"""The tables of a rebuild that stand beside the live ones."""
_HEALTH = ("health_verdicts", "health_snapshots", "health_sight", "health_losses")


@dataclass(frozen=True)
class Right:
    """Some privileges on a relation of steptrail's database, or on all whose names begin like one that ends in `*`.

    `of` says where the name belongs instead: the database `system`, another database as a whole, table engines, sources
    of data (`DISK`).
    """

    privileges: str
    name: str
    of: Literal["steptrail", "system", "database", "engine", "source"] = "steptrail"


@dataclass(frozen=True)
class Part:
    """A part, what it is, and its rights."""

    name: str
    is_what: str
    rights: tuple[Right, ...]


_CHECKS = (Right("SELECT", "tables", "system"), Right("SELECT", "merge_tree_settings", "system"))
"""What the start asks: whether tables keep what they are given, and which stages were left behind."""


def parts() -> tuple[Part, ...]:
    """All parts, in the order in which they are needed."""
    return (
        Part("migrator", "creates and alters tables and views: steptrail migrate", _migrator()),
        Part(
            "projector",
            "writes events, reports, observations and dead letters: steptrail run projector",
            _merged(
                (
                    *_consumer(
                        (STEP_EVENTS, DEAD_LETTERS, EMITTER_REPORTS, OBSERVATIONS),
                        reads=(*_ERASED, "retention_rules"),
                    ),
                    *_removes(),
                )
            ),
        ),
        Part(
            "health",
            "writes verdicts and aggregates: steptrail run health",
            _consumer(
                (HEALTH_EVENTS,),
                writes=(*_HEALTH, *_AGGREGATES),
                reads=(
                    *_ERASED,
                    *("dead_letters", "emitter_gaps", "emitter_reports", "health_state", "observations"),
                    *("stall_state", "stalls_said", "step_executions", "step_state"),
                ),
            ),
        ),
        Part(
            "alerts",
            "reads what alerts are about: steptrail run alerts",
            _reads(
                (
                    *_ERASED,
                    "aggregate_marks",
                    "backups",
                    "error_groups",
                    "health_sight",
                    "stall_state",
                    "steps",
                )
            ),
        ),
        Part(
            "web",
            "reads everything, and writes what people decide on the pages: steptrail run web",
            (Right("SELECT", "*"), *_inserts(_DECISIONS)),
        ),
        Part(
            "operator",
            "reads everything, writes what people decide, removes what they erase: steptrail groups, dlq, erase …",
            _merged(
                (
                    Right("SELECT", "*"),
                    *_inserts((*_DECISIONS, "error_group_rules", "expected_steps_declarations")),
                    *_inserts(("erased_documents", "erasures", "retention_changes")),
                    # Counted anew without what was erased.
                    *_inserts((*_AGGREGATES, "step_executions", *_SHADOWS)),
                    Right("SELECT", "processes", "system"),
                    *_removes(),
                )
            ),
        ),
        Part(
            "rebuild", "builds the projector's tables anew and exchanges them: steptrail rebuild", _rebuild()
        ),
        Part(
            "backup",
            "backs the store up to the disk `backups`: steptrail backup",
            (
                Right("SELECT, BACKUP", "*"),
                *_inserts(("backups",)),
                Right("READ, WRITE", "DISK", "source"),
                *(Right("SELECT", name, "system") for name in ("backups", "disks", "parts", "tables")),
            ),
        ),
    )


def _migrator() -> tuple[Right, ...]:
    engines = {relation.engine for relation in relations().values() if relation.engine is not None}
    return (
        Right("CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW, ALTER TABLE, SELECT, INSERT", "*"),
        Right(
            "SHOW DATABASES", "default", "database"
        ),  # where it connects until steptrail's database is there
        *(Right("TABLE ENGINE", engine, "engine") for engine in sorted(engines | {"ReplacingMergeTree"})),
        *_CHECKS,
    )


def _rebuild() -> tuple[Right, ...]:
    engines = sorted({relations()[name].engine or "" for name in REBUILT} | {"Memory"})
    stages = (f"stage_{name}" for name in _SHADOWS)
    return _merged(
        (
            Right("SELECT", "*"),
            *_inserts((*_LEDGER, "projection_holds", "rebuilds")),
            *(Right("CREATE TABLE, DROP TABLE, SELECT, INSERT", name) for name in (*REBUILT, *_SHADOWS)),
            *(Right("CREATE TABLE, DROP TABLE, SELECT, INSERT, ALTER DELETE", name) for name in stages),
            *(Right("TABLE ENGINE", engine, "engine") for engine in engines),
            Right("SELECT", "processes", "system"),
            *_removes(),
            *_CHECKS,
        )
    )


def _consumer(
    specs: Iterable[ProjectionSpec], *, writes: Iterable[str] = (), reads: Iterable[str] = ()
) -> tuple[Right, ...]:
    """The rights of a consumer with a ledger: its stages, its targets, which it also asks what they have."""
    specs = tuple(specs)
    targets = {target.table for spec in specs for target in spec.targets}
    written = [name for name in tables() if name in {*targets, *_LEDGER, *writes}]
    also = [
        name for name in with_what_they_read((*reads, "projection_holds", "backups")) if name not in written
    ]
    return (
        *(Right("SELECT, INSERT", name) for name in written),
        *(Right("SELECT", name) for name in (*also, MIGRATIONS_TABLE)),
        *(
            Right("CREATE TABLE, DROP TABLE, SELECT, INSERT, ALTER DELETE", f"stage_{spec.name}_*")
            for spec in specs
        ),
        Right("TABLE ENGINE", "Memory", "engine"),
        Right("SELECT", "processes", "system"),
        *_CHECKS,
    )


def _removes() -> tuple[Right, ...]:
    """What removing rows by age, or of an erased document, takes."""
    return (
        *(Right("SELECT, ALTER DELETE", table.name) for table in EVENT_TABLES),
        *(Right("ALTER MATERIALIZE PROJECTION", table.name) for table in EVENT_TABLES if table.projections),
        *(Right("SELECT, ALTER DELETE, ALTER MATERIALIZE PROJECTION", name) for name in _SHADOWS),
        *(Right("SELECT", name, "system") for name in ("parts", "mutations", "tables")),
    )


def _merged(rights: Iterable[Right]) -> tuple[Right, ...]:
    """Those about the same relation as one."""
    found: dict[tuple[str, str], Right] = {}
    for right in rights:
        before = found.get((right.of, right.name))
        if before is not None:
            together = dict.fromkeys(f"{before.privileges}, {right.privileges}".split(", "))
            right = Right(", ".join(together), right.name, right.of)
        found[right.of, right.name] = right
    return tuple(found.values())


def _reads(names: Iterable[str]) -> tuple[Right, ...]:
    return tuple(Right("SELECT", name) for name in with_what_they_read(names))


def _inserts(names: Iterable[str]) -> tuple[Right, ...]:
    return tuple(Right("INSERT", name) for name in names)
