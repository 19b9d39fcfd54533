"""A part of a page with a question of its own: what was found, or why it cannot be known, and how to ask it oneself."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from steptrail.consumers.loop.freshness import Freshness
from steptrail.consumers.web.desk import Desk
from steptrail.consumers.web.problems import ProblemError, as_problem
from steptrail.projections.clickhouse.queries import query

_REMEDIES = {
    "store_unavailable": "The page asks again by itself. Is ClickHouse running? `steptrail status` says so.",
    "broker_unavailable": "The page asks again by itself. Is Kafka running? `steptrail status` says so.",
    "schema_mismatch": "Run `steptrail migrate`.",
    "store_refused": "A shorter time or one pipeline is asked faster.",
}


@dataclass(frozen=True, slots=True)
class Way:
    """How to ask a panel's question elsewhere: the API's path with parameters, the command, the named statement."""

    path: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()
    statement: str = ""

    def written(self, base: str) -> list[tuple[str, str]]:
        """(name, text) of each, to be copied."""
        found = []
        if self.statement:
            found.append(("SQL", query(self.statement)))
        if self.path:
            asked = f"?{urlencode(self.parameters)}" if self.parameters else ""
            found.append(("curl", f"curl {shlex.quote(f'{base}/api/v1{self.path}{asked}')}"))
        if self.command:
            found.append(("command", shlex.join(["steptrail", *self.command])))
        return found


def option(name: str, text: str) -> list[str]:
    """An option of a command, in one word where its value would be taken for another option."""
    return [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]


def positional(text: str) -> list[str]:
    """An argument of a command, to come last: behind `--` where it would be taken for an option."""
    return ["--", text] if text.startswith("-") else [text]


@dataclass(slots=True)
class Panel:
    """What one question gave: `found`, or None and a `problem` in words with its `remedy`."""

    found: Any = None
    problem: str = ""
    remedy: str = ""
    freshness: Freshness | None = None
    status: int = 200

    @property
    def failed(self) -> bool:
        """Whether it could not be asked."""
        return bool(self.problem)


async def ask_one(desk: Desk, key: Hashable, question: Callable[[], Any], *, newest: bool = False) -> Panel:
    """The answer, or in words why there is none: a store or broker that is away leaves the page standing."""
    try:
        found = await desk.answer(key, question, newest=newest)
        return Panel(found.result, freshness=found.freshness)
    except Exception as error:
        problem = as_problem(error)
        if problem is None:
            raise
        return _unanswered(problem)


def _unanswered(problem: ProblemError) -> Panel:
    said = problem.problem
    return Panel(
        problem=said.detail.partition("\n")[0], remedy=_REMEDIES.get(said.error, ""), status=said.status
    )
