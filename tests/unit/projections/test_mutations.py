"""Waiting for mutations: until they are done, and no longer than they may fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from steptrail.projections.clickhouse.errors import StoreRefused
from steptrail.projections.lifecycle.mutations import wait_for_mutations


class Answers:
    """A store that gives these answers to the question which mutations are under way, the last one for ever."""

    def __init__(self, *answers: Sequence[tuple[str, str]]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def query(self, _: str, __: Any = None) -> Sequence[tuple[str, str]]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def wait(store: Answers, **more: float) -> None:
    wait_for_mutations(store, "steps", sleep=lambda _: None, **{"timeout": 3600.0, **more})  # type: ignore[arg-type]


def test_it_is_waited_for_until_none_is_under_way() -> None:
    """One that failed and goes on is no reason to give up."""
    store = Answers([("m1", "")], [("m1", "no space")], [("m1", "")], [])
    wait(store)
    assert store.asked == 4


def test_one_that_keeps_failing_is_told_with_the_reason_and_what_to_do() -> None:
    """As with a full disk."""
    with pytest.raises(
        StoreRefused, match=r"(?s)mutation m1 of table steps .* no space .*run the command again"
    ):
        wait(Answers([("m1", "no space left")]), failing=0.0)


def test_one_that_does_not_come_to_its_end_is_told() -> None:
    """As while merges are stopped."""
    with pytest.raises(StoreRefused, match="merges are stopped"):
        wait(Answers([("m1", "")]), timeout=0.0)
