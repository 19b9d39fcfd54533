"""The fold is a function of the set of arrivals: order, repetition and batches do not show."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steptrail.schemas.event import StepEvent
from steptrail.schemas.fold import CurrentStep, Fold, StepKey
from steptrail.schemas.status import ProcessingStatus as S

Arrival = tuple[StepEvent, int]

T0 = 1_750_000_000_000_000


def event(number: int, status: S, time: int, execution: int = 1, **more: object) -> StepEvent:
    values: dict[str, object] = {
        "event_id": number.to_bytes(16, "big"),
        "pipeline": "p",
        "doc_id": "d",
        "step_name": "parse",
        "execution_id": execution.to_bytes(16, "big"),
        "attempt": 1,
        "status": status,
        "timestamp": T0 + time,
        "duration_ms": None,
        "error_type": None,
        "error_message": None,
        "details": "{}",
        "metrics": "{}",
        "depends_on": "[]",
        "trace_id": None,
        "worker": "w:1",
        "emitter_id": bytes(8),
        "sequence": number,
        **more,
    }
    return StepEvent(**values)  # type: ignore[arg-type]


@st.composite
def histories(draw: st.DrawFn, max_size: int = 14) -> list[Arrival]:
    """Few documents, steps, executions and times, so that everything collides with everything."""
    arrivals: list[Arrival] = []
    for number in range(draw(st.integers(1, max_size))):
        status = draw(st.sampled_from(list(S)))
        one = event(
            draw(st.integers(0, 3)) << 64 | number,
            status,
            draw(st.integers(0, 4)),
            execution=draw(st.integers(1, 3)),
            doc_id=draw(st.sampled_from("ab")),
            step_name=draw(st.sampled_from("xy")),
            attempt=draw(st.integers(1, 3)),
            duration_ms=draw(st.none() | st.sampled_from([0.0, 1.5])),
            error_message=draw(st.none() | st.sampled_from(["", "bad"])),
            depends_on=draw(st.sampled_from(["[]", '["a"]', '["b"]'])),
        )
        # Late, at once, or before the worker's clock; sometimes twice, at different times.
        delays = draw(st.lists(st.integers(-2, 6), min_size=1, max_size=2))
        arrivals += [(one, T0 + delay) for delay in delays]
    return arrivals


def folded(arrivals: Iterable[Arrival]) -> tuple[list[object], dict[StepKey, CurrentStep]]:
    fold = Fold()
    for one, broker_time in arrivals:
        fold.add(one, broker_time)
    return list(fold.executions()), fold.steps()


def only(arrivals: Sequence[Arrival] | Sequence[StepEvent]) -> CurrentStep:
    fold = Fold()
    for one in arrivals:
        fold.add(*one) if isinstance(one, tuple) else fold.add(one)
    (step,) = fold.steps().values()
    return step


@settings(derandomize=True, max_examples=150, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_show(history: list[Arrival], chance: random.Random) -> None:
    """Any order of a history, with any of its arrivals repeated, folds to the same state."""
    other = history + chance.choices(history, k=chance.randrange(len(history) + 1))
    chance.shuffle(other)
    assert folded(other) == folded(history)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_batches_do_not_show(history: list[Arrival], chance: random.Random) -> None:
    """A history cut into batches, each folded alone and merged in any order, folds to the same state."""
    batches: list[list[Arrival]] = [[] for _ in range(chance.randint(1, 5))]
    for arrival in history:
        for batch in chance.sample(batches, chance.randint(1, len(batches))):
            batch.append(arrival)
    chance.shuffle(batches)
    whole = Fold()
    for batch in batches:
        part = Fold()
        for one, broker_time in batch:
            part.add(one, broker_time)
        whole.merge(part)
    assert (list(whole.executions()), whole.steps()) == folded(history)


def test_every_permutation_of_a_history() -> None:
    """All 5,040 orders of a retried step's seven events give one state."""
    history = [
        event(1, S.PENDING, 0, execution=1),
        event(2, S.RUNNING, 1, execution=1),
        event(3, S.ERROR, 2, execution=1, error_message="boom"),
        event(4, S.RUNNING, 3, execution=2, attempt=2, depends_on='["read"]'),
        event(5, S.RUNNING, 3, execution=2, attempt=2),
        event(6, S.SUCCESS, 4, execution=2, attempt=2, duration_ms=1.5),
        event(7, S.RUNNING, 9, execution=1),
    ]
    states = {repr(folded((one, T0 + 5) for one in order)) for order in itertools.permutations(history)}
    assert len(states) == 1


def test_a_late_start_does_not_reopen() -> None:
    """RUNNING with a later time than the ending leaves the execution ended."""
    assert only([event(1, S.SUCCESS, 5), event(2, S.RUNNING, 9)]).current.status is S.SUCCESS


def test_a_retry_shows_as_running() -> None:
    """A new execution after an ERROR is the current one, and the step counts both."""
    state = only([event(1, S.RUNNING, 0), event(2, S.ERROR, 1), event(3, S.RUNNING, 2, execution=2)])
    assert (state.current.status, state.executions, state.events) == (S.RUNNING, 2, 3)


def test_an_ending_alone_is_a_whole_execution() -> None:
    """Without a RUNNING there is a state, which has no start."""
    state = only([event(1, S.SKIPPED, 3)])
    assert (state.current.status, state.current.started_at) == (S.SKIPPED, None)


def test_a_clock_that_runs_ahead_wins_nothing() -> None:
    """An event stamped a year ahead counts from when the broker had it, so what came later is later."""
    year = 365 * 86_400_000_000
    ahead = (event(1, S.ERROR, year, execution=1), T0 + 10)
    later = (event(2, S.RUNNING, 20, execution=2), T0 + 21)
    assert only([ahead, later]).current.status is S.RUNNING


def test_old_times_keep_their_place() -> None:
    """An event stamped a hundred years back is counted, and moves nothing."""
    century = -100 * 365 * 86_400_000_000
    state = only([event(1, S.SUCCESS, 5, execution=1), event(2, S.FAILED, century, execution=2)])
    assert (state.current.status, state.executions) == (S.SUCCESS, 2)


@pytest.mark.parametrize("same_time", [S.SUCCESS, S.FAILED])
def test_two_endings_at_once_are_decided_by_the_event_id(same_time: S) -> None:
    """At equal rank and time the event that was made later wins, whichever arrives first."""
    first, second = event(1, S.WARNING, 5), event(2, same_time, 5)
    assert only([first, second]).current.status is only([second, first]).current.status is same_time
