"""Whether a pipeline or a step of that name was ever heard of, and which names look like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from steptrail.projections.clickhouse.queries import Store, ask, scope, stored
from steptrail.schemas.near_names import near_names

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
