"""How many statements pages and the API have under way in the store at a time."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from steptrail.consumers.web.limited_store import LIMITS, PATIENCE_S, Lane, LimitedStore, in_lane, lane
from steptrail.consumers.web.problems import ProblemError
from steptrail.consumers.web.workers import side_by_side
from support.waiting import until

NO_PATIENCE: Mapping[Lane, float] = dict.fromkeys(Lane, 0.0)


class Engine:
    """Holds statements until they may go; remembers how many were under way at most."""

    max_name_bytes = 100

    def __init__(self) -> None:
        self.go = threading.Event()
        self.under_way = self.most = self.asked = 0
        self.settings: Any = None
        self._lock = threading.Lock()

    def rows(self, sql: str, parameters: Any = None, settings: Any = None) -> list[dict[str, Any]]:
        with self._lock:
            self.asked += 1
            self.settings = settings
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        assert self.go.wait(30)
        with self._lock:
            self.under_way -= 1
        return []


def store_of(engine: Engine, at_once: int, patience_s: Mapping[Lane, float] = PATIENCE_S) -> LimitedStore:
    return LimitedStore(engine, at_once, patience_s=patience_s)  # type: ignore[arg-type]


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_so_many_statements_run_at_a_time(at_once: int) -> None:
    """The others wait for their turn, and all are answered."""
    engine = Engine()
    store = store_of(engine, at_once, dict.fromkeys(Lane, 60.0))
    asking = threading.Thread(target=lambda: side_by_side(*[lambda: store.rows("SELECT 1")] * 12))
    asking.start()
    until(lambda: engine.under_way == at_once, "the statements that may run")
    engine.go.set()
    asking.join(60)
    assert (engine.most, engine.asked) == (at_once, 12)


def test_a_statement_without_a_turn_is_refused_and_says_what_to_do() -> None:
    """503 `busy` with a time to ask again; afterwards there is a turn."""
    engine = Engine()
    store = store_of(engine, 1, NO_PATIENCE)
    first = threading.Thread(target=store.rows, args=("SELECT 1",))
    first.start()
    until(lambda: engine.under_way == 1, "the first statement")
    with pytest.raises(ProblemError) as refused:
        store.rows("SELECT 2")
    assert (refused.value.problem.status, refused.value.problem.error) == (503, "busy")
    assert "STEPTRAIL_WEB_STATEMENTS" in refused.value.problem.detail
    assert refused.value.headers["Retry-After"]
    engine.go.set()
    first.join(30)
    assert store.rows("SELECT 3") == []


def test_an_error_gives_the_turn_back() -> None:
    """As an answer does."""

    class Failing:
        max_name_bytes = 100

        def rows(self, *_: Any) -> list[dict[str, Any]]:
            raise ValueError("no")

    store = LimitedStore(Failing(), 1, patience_s=NO_PATIENCE)  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            store.rows("SELECT 1")


def test_long_statements_and_those_that_nobody_waits_for_hold_up_no_other() -> None:
    """Each lane has turns of its own, also where its statements are asked side by side."""
    engine = Engine()
    store = store_of(engine, 2)
    lanes = [Lane.LONG, Lane.COUNTING, Lane.RENEWAL]

    def ask_all() -> None:
        side_by_side(*[lambda: store.rows("SELECT 1")] * 3)

    threads = [threading.Thread(target=in_lane(each, ask_all)) for each in lanes]
    for thread in threads:
        thread.start()
    until(lambda: engine.under_way == 2 + 1 + 1, "the statements of the other lanes")
    prompt = threading.Thread(target=store.rows, args=("SELECT 2",))
    prompt.start()
    until(lambda: engine.under_way == 2 + 1 + 1 + 1, "a prompt statement beside them")
    engine.go.set()
    for thread in (*threads, prompt):
        thread.join(60)
    assert engine.asked == 10


def test_a_lane_ends_where_it_was_entered() -> None:
    """What is asked afterwards is prompt again; limits hold in every lane."""
    engine = Engine()
    engine.go.set()
    store = store_of(engine, 1, NO_PATIENCE)
    with lane(Lane.LONG):
        store.rows("SELECT 1", None, {"max_threads": 1})
    assert engine.settings == {**LIMITS, "max_threads": 1}
    store.rows("SELECT 1")
    assert engine.settings == LIMITS
