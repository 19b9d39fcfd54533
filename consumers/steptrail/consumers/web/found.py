"""What a question found, with the freshness that it was found at, as every answer states it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Generic, TypeVar

from steptrail.consumers.loop.freshness import Freshness
from steptrail.consumers.web.models.common import Answer

A = TypeVar("A", bound=Answer)
R = TypeVar("R")

_OF_FRESHNESS: Final = {"as_of", "behind_seconds", "behind_events", "freshness_problem"}
_OF_NOW: Final = {*_OF_FRESHNESS, "since", "until", "checked_at"}


@dataclass(frozen=True)
class Found(Generic[R]):
    """A result and how fresh the tables were before it was asked for, `at` by the clock of what keeps it."""

    freshness: Freshness
    result: R
    at: float = 0.0

    @cached_property
    def rendered(self) -> tuple[str, bytes]:
        """An Answer as JSON, and its entity tag: of what was found, whatever its freshness."""
        assert isinstance(self.result, Answer)
        content = self.result.model_dump_json(exclude=_OF_NOW).encode()
        tag = f'W/"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
        return tag, self.result.model_dump_json(exclude_none=False).encode()


def fresh(answer: A, freshness: Freshness) -> A:
    """The answer, stating its freshness. One that states it already is of an earlier moment, and stays so."""
    if answer.as_of is not None and (freshness.as_of is None or answer.as_of <= freshness.as_of):
        return answer
    return answer.model_copy(
        update={
            "as_of": freshness.as_of,
            "behind_seconds": freshness.behind_seconds,
            "behind_events": freshness.behind_events,
            "freshness_problem": freshness.problem,
        }
    )


def freshness_of(answer: Answer, freshness: Freshness) -> Freshness:
    """What the answer states, where that is of an earlier moment than `freshness`."""
    if answer.as_of is None or freshness.as_of is None or answer.as_of >= freshness.as_of:
        return freshness
    return replace(
        freshness,
        as_of=answer.as_of,
        behind_seconds=answer.behind_seconds,
        behind_events=answer.behind_events,
    )
