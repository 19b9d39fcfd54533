"""What a shell offers for a word that is being typed: names from the store, asked for quickly, or nothing.

Names come from outside, and a shell may evaluate what it is given: only those are offered that mean themselves
unquoted in every shell.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from steptrail.projections.clickhouse.client import ClickHouse

_PLAIN = re.compile(r"[\w./@][\w./@%+,=-]*")
_NOT_PLAIN = re.compile(r"[^\w .,/-]+")
_TIMEOUT_S = 1.0
_MOST = 100


def pipelines(context: typer.Context, incomplete: str) -> list[Any]:
    """Known pipelines."""
    return _offered(incomplete, context, _pipelines)


def steps(context: typer.Context, incomplete: str) -> list[Any]:
    """Known steps, of the pipeline that was named."""
    from steptrail.projections.clickhouse.queries import ask, scope

    def found(store: ClickHouse) -> Iterable[str]:
        rows = ask(store, "known_steps", {**scope(_pipeline_of(context)), "fetch": 10_000})
        return (str(row["step_name"]) for row in rows)

    return _offered(incomplete, context, found)


def documents(context: typer.Context, incomplete: str) -> list[Any]:
    """Documents whose names begin so, of the pipeline that was named."""
    from steptrail.projections.clickhouse.queries import ask, scope

    def found(store: ClickHouse) -> Iterable[str]:
        place = {"from_start": True, "from_pipeline": "", "from_doc": "", "fetch": _MOST}
        rows = ask(
            store, "documents_by_name", {**scope(_pipeline_of(context)), "prefix": incomplete, **place}
        )
        return (str(row["doc_id"]) for row in rows)

    return _offered(incomplete, context, found)


def groups(context: typer.Context, incomplete: str) -> list[Any]:
    """Error groups, with what their messages have in common."""

    def found(store: ClickHouse) -> Iterable[tuple[str, str]]:
        from steptrail.projections.stores.error_groups import error_groups

        return ((each.group_id, each.template) for each in error_groups(store, limit=_MOST))

    return _offered(incomplete, context, found)


def words(*given: str) -> Callable[[str], list[str]]:
    """Some of a few words that are known beforehand."""

    def offered(incomplete: str) -> list[str]:
        return [word for word in given if word.startswith(incomplete)]

    return offered


def words_being_completed() -> list[str] | None:
    """The whole words before the one that a shell asks to complete; None: this process completes nothing."""
    if not os.environ.get("_STEPTRAIL_COMPLETE"):
        return None
    line = os.environ.get("COMP_WORDS", os.environ.get("_TYPER_COMPLETE_ARGS", ""))
    typed = line.split()[1:]
    return typed if len(typed) > 1 or line.endswith(" ") else []


def _pipelines(store: ClickHouse) -> Iterable[str]:
    from steptrail.projections.clickhouse.queries import ask

    return (str(row["pipeline"]) for row in ask(store, "known_pipelines", {"fetch": 10_000}))


def _pipeline_of(context: typer.Context) -> str | None:
    pipeline = context.params.get("pipeline")
    return pipeline if isinstance(pipeline, str) else None


def _offered(
    incomplete: str,
    context: typer.Context,
    found: Callable[[ClickHouse], Iterable[str | tuple[str, str]]],
) -> list[Any]:
    """What the store knows; nothing when it does not answer, whatever the reason."""
    try:
        from steptrail.deploy.terminal.options import settings_for
        from steptrail.projections.clickhouse.client import connect

        with connect(settings_for(context.params.get("directory")), timeout=_TIMEOUT_S) as store:
            offers = list(found(store))
    except Exception:  # a shell has no place for a message
        return []
    made: dict[str, Any] = {}
    for offer in offers:
        name, about = offer if isinstance(offer, tuple) else (offer, "")
        if name.startswith(incomplete) and _PLAIN.fullmatch(name):
            made[name] = (name, _NOT_PLAIN.sub(" ", about)[:80].strip()) if about else name
    return list(made.values())[:_MOST]
