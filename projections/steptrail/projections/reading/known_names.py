"""Whether a pipeline or a step of that name is known, and which names look like it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from steptrail.projections.clickhouse.queries import Store, ask, scope, stored
from steptrail.schemas.near_names import near_names
from steptrail.schemas.stored_names import matches_name

_MOST: Final = 10_000
"""How many names are compared."""


@dataclass(frozen=True, slots=True)
class UnknownName:
    """A `kind` ("pipeline" or "step") of which nothing is there, and the known names that look like it."""

    kind: str
    name: str
    near: Sequence[str]


def unknown_name(store: Store, pipeline: str | None, step_name: str | None = None) -> UnknownName | None:
    """Which of the two names is unknown, if one is; a step is looked for in the pipeline, or in all of them."""
    if pipeline is not None:
        known = [str(row["pipeline"]) for row in ask(store, "known_pipelines", {"fetch": _MOST})]
        if stored(pipeline, store) not in known:
            return UnknownName("pipeline", pipeline, near_names(stored(pipeline, store), known))
    if step_name:
        rows = ask(store, "known_steps", {**scope(pipeline, store), "fetch": _MOST})
        steps = [str(row["step_name"]) for row in rows]
        if stored(step_name, store) not in steps:
            return UnknownName("step", step_name, near_names(stored(step_name, store), steps))
    return None


def unmatched_names(store: Store, scopes: Iterable[tuple[str, str]]) -> list[UnknownName]:
    """The names and globs in pairs (pipeline, step) that match nothing known: the wrong one of each pair, once.

    Empty where nothing is known yet, or more names than are compared.
    """
    known = [(row["pipeline"], row["step_name"]) for row in ask(store, "known_scopes", {"fetch": _MOST})]
    found: dict[UnknownName, None] = {}
    for pipeline, step in scopes if 0 < len(known) < _MOST else ():
        steps = {name for of, name in known if matches_name(of, pipeline)}
        if not steps:
            near = near_names(pipeline, {of for of, _ in known})
            found[UnknownName("pipeline", pipeline, tuple(near))] = None
        elif step and not any(matches_name(name, step) for name in steps):
            found[UnknownName("step", step, tuple(near_names(step, steps)))] = None
    return list(found)
