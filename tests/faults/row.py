"""What a row of the matrix is given, and what it gives back."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from confluent_kafka import Message

from faults.load import Load, loading
from faults.oracle import judge
from faults.verdict import Verdict
from faults.workspace import Workspace, new_workspace
from faults.world import World

T = TypeVar("T")


@dataclass
class Outcome:
    """How a row ended. `wrong` says what the row itself asks and did not get, besides the oracle's verdict."""

    injected: int
    verdict: Verdict = field(default_factory=Verdict)
    wrong: list[str] = field(default_factory=list)
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether everything held, and the fault was there at all."""
        return self.verdict.ok and not self.wrong and self.injected > 0

    def ask(self, condition: bool, otherwise: str) -> None:
        """Note what is wrong unless `condition` holds."""
        if not condition:
            self.wrong.append(otherwise)


def _never(_: Message) -> bool:
    return False


@dataclass
class Run:
    """One run of one row."""

    number: int
    world: World
    quick: bool
    seed: int

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed}/{self.number}")

    def pick(self, quick: T, full: T) -> T:
        """The one for this form."""
        return quick if self.quick else full

    @contextmanager
    def workspace(self, url: str | None = None, **values: Any) -> Iterator[tuple[Workspace, Load]]:
        """Topics, tables and an empty load of the row's own."""
        with new_workspace(self.world, self.number, url, **values) as workspace, loading(workspace) as load:
            yield workspace, load

    def judged(
        self,
        workspace: Workspace,
        load: Load,
        outcome: Outcome,
        *,
        is_poison: Callable[[Message], bool] = _never,
        one_in: int = 1,
        timeout: float = 300.0,
    ) -> Outcome:
        """Wait until all is projected, have the oracle judge, and take its verdict into `outcome`."""
        began = time.monotonic()
        outcome.ask(workspace.wait_caught_up(timeout), f"not caught up after {timeout:g} s")
        took = {"caught_up_s": round(time.monotonic() - began, 1)}
        began = time.monotonic()
        workspace.gather()
        outcome.verdict.add(judge(workspace, load.record, is_poison=is_poison, one_in=one_in))
        outcome.detail.update(took, judged_s=round(time.monotonic() - began, 1))
        return outcome
