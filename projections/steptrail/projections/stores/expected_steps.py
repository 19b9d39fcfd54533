"""The steps that a pipeline's documents go through, declared, so that it can be said which documents are done.

    from steptrail.projections.clickhouse.client import connect
    from steptrail.projections.stores.expected_steps import declare_expected_steps
    from steptrail.schemas import Settings

    with connect(Settings()) as clickhouse:
        declare_expected_steps(clickhouse, "invoices", ["fetch", "ocr", "index"])

A declaration is written straight to ClickHouse: once, by whoever deploys the pipeline or by a worker at its start,
and never on the way of an event.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from steptrail.projections.clickhouse.queries import Store, ask, scope
from steptrail.schemas.configuration.settings_parsing import check_pipeline
from steptrail.schemas.errors import ConfigurationError
from steptrail.schemas.event import datetime_from_us
from steptrail.schemas.stored_names import MAX_NAME_BYTES, stored_name

if TYPE_CHECKING:
    from steptrail.projections.clickhouse.client import ClickHouse

_INSERT = "INSERT INTO expected_steps_declarations (pipeline, version, declaration, steps) FORMAT JSONEachRow"


class BadDeclaration(ConfigurationError, ValueError):
    """A declaration of expected steps cannot be: the message names the pipeline, and the step by its number."""


@dataclass(frozen=True, slots=True)
class ExpectedSteps:
    """What holds for a pipeline: its steps in the order that was declared, and when (aware, UTC)."""

    pipeline: str
    steps: tuple[str, ...]
    declared_at: datetime


def declare_expected_steps(
    clickhouse: ClickHouse, pipeline: str, steps: Collection[str], *, max_name_bytes: int = MAX_NAME_BYTES
) -> bool:
    """Say that each document of `pipeline` goes through `steps`, all of them; True when that is news.

    It replaces what was declared for the pipeline before. An empty collection takes the declaration back. What
    holds already is not written again, so every worker may declare at its start; of two that declare something
    else at the same time one wins, for good. `max_name_bytes` is the setting of that name.

    Raises BadDeclaration or TypeError for names that cannot be, InfrastructureError when the store is away or
    lacks the tables; then it may or may not have been written, and declaring it again is safe.
    """
    return bool(declare_all(clickhouse, {pipeline: steps}, max_name_bytes=max_name_bytes))


def declare_all(
    clickhouse: ClickHouse,
    declarations: Mapping[str, Collection[str]],
    *,
    max_name_bytes: int = MAX_NAME_BYTES,
    dry_run: bool = False,
) -> list[str]:
    """`declare_expected_steps` for several pipelines at once, all or none; the pipelines for which it is news.

    With `dry_run` those for which it would be.
    """
    wanted = {
        pipeline: check_declaration(pipeline, steps, max_name_bytes)
        for pipeline, steps in declarations.items()
    }
    only = next(iter(wanted)) if len(wanted) == 1 else None
    now = {row["pipeline"]: row for row in _declared(clickhouse, only)} if wanted else {}
    news: list[dict[str, Any]] = []
    for pipeline, steps in wanted.items():
        before = now.get(pipeline)
        if steps == (() if before is None else tuple(before["steps"])):
            continue
        version = 1 if before is None else before["version"] + 1
        news.append(
            {
                "pipeline": pipeline,
                "version": version,
                "declaration": str(uuid.uuid4()),
                "steps": steps,
            }
        )
    if news and not dry_run:
        clickhouse.command(_INSERT, data="\n".join(json.dumps(row) for row in news).encode())
    return [row["pipeline"] for row in news]


def expected_steps(store: Store, pipeline: str | None = None) -> list[ExpectedSteps]:
    """What holds now, by pipeline; without those that never declared anything or took it back."""
    return [
        ExpectedSteps(row["pipeline"], tuple(row["steps"]), datetime_from_us(int(row["declared_ms"]) * 1000))
        for row in _declared(store, pipeline)
        if row["steps"]
    ]


def check_declaration(
    pipeline: str, steps: Collection[str], max_name_bytes: int = MAX_NAME_BYTES
) -> tuple[str, ...]:
    """The steps as their events are stored; raises BadDeclaration for a pipeline or a list that cannot be."""
    try:
        check_pipeline(pipeline)
    except ValueError as error:
        raise BadDeclaration(f"pipeline {pipeline!r}: {error}") from None
    if isinstance(steps, str | bytes) or not isinstance(steps, Collection):
        raise TypeError(f"steps of pipeline {pipeline!r} must be a list of names, not {type(steps).__name__}")
    named: list[str] = []
    for number, step in enumerate(sorted(steps) if isinstance(steps, set | frozenset) else steps, start=1):
        where = f"pipeline {pipeline!r}, step {number}"
        if not isinstance(step, str):
            raise TypeError(f"{where} must be a name (str), not {type(step).__name__}")
        if not step.strip():
            raise BadDeclaration(f"{where} has no name")
        name = stored_name(step, max_name_bytes)
        if name in named:
            raise BadDeclaration(f"{where}: {name!r} is there twice")
        named.append(name)
    return tuple(named)


def _declared(store: Store, pipeline: str | None) -> Sequence[Mapping[str, Any]]:
    return ask(store, "expected_steps", scope(pipeline))
