"""The fold is a function of the set of arrivals: order, repetition and batches do not show."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults.folding import Folding
from steptrail.schemas.event import StepEvent
from steptrail.schemas.fold import JOIN_WITHIN_US, CurrentStep, Fold, StepKey
from steptrail.schemas.status import ProcessingStatus as S
from support.effort import effort

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
    unit = draw(st.sampled_from([1, JOIN_WITHIN_US // 2]))
    for number in range(draw(st.integers(1, max_size))):
        status = draw(st.sampled_from([*S, S.PENDING, S.PENDING]))
        time = draw(st.integers(0, 4)) * unit
        made_at = draw(
            st.sampled_from([0, (T0 + time) // 1000])
        )  # what tells a measured time from a given one
        one = event(
            made_at << 80 | draw(st.integers(0, 3)) << 64 | number,
            status,
            time,
            execution=draw(st.integers(1, 4)),
            doc_id=draw(st.sampled_from("ab")),
            step_name=draw(st.sampled_from("xy")),
            attempt=draw(st.integers(1, 3)),
            duration_ms=draw(st.none() | st.sampled_from([0.0, 1.5])),
            error_message=draw(st.none() | st.sampled_from(["", "bad"])),
            depends_on=draw(st.sampled_from(["[]", '["a"]', '["b"]'])),
        )
        # Late, at once, or before the worker's clock; sometimes twice, at different times.
        delays = draw(st.lists(st.integers(-2, 6), min_size=1, max_size=2))
        arrivals += [(one, T0 + delay * unit) for delay in delays]
    return arrivals


EARLY = (bytes(8), 7, 2 * JOIN_WITHIN_US // 3)


def folded(arrivals: Iterable[Arrival]) -> tuple[list[object], dict[StepKey, CurrentStep]]:
    fold = Fold()
    for one, broker_time in arrivals:
        fold.add(one, broker_time)
    fold.early_clock(*EARLY)
    return list(fold.executions()), fold.steps()


def only(arrivals: Sequence[Arrival] | Sequence[StepEvent]) -> CurrentStep:
    fold = Fold()
    for one in arrivals:
        fold.add(*one) if isinstance(one, tuple) else fold.add(one)
    (step,) = fold.steps().values()
    return step


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(60, 150), deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_show(history: list[Arrival], chance: random.Random) -> None:
    """Any order of a history, with any of its arrivals repeated, folds to the same state."""
    other = history + chance.choices(history, k=chance.randrange(len(history) + 1))
    chance.shuffle(other)
    assert folded(other) == folded(history)


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(40, 100), deadline=None)
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
        if chance.random() < 0.5:
            part.early_clock(*EARLY)
        for one, broker_time in batch:
            part.add(one, broker_time)
        whole.merge(part)
    whole.early_clock(*EARLY)
    assert (list(whole.executions()), whole.steps()) == folded(history)


@pytest.mark.thorough
@settings(derandomize=True, max_examples=effort(60, 400), deadline=None)
@given(histories())
def test_a_fold_of_another_hand_says_the_same(history: list[Arrival]) -> None:
    """The fault matrix's own fold, written apart, gives the same current state of every step."""
    latest = {one.event_id: (one, time) for one, time in sorted(history, key=lambda arrival: arrival[1])}
    folding = Folding()
    for one, broker_time in latest.values():
        folding.add({**asdict(one), "status": one.status.value}, broker_time)
    fold = Fold()
    for one, broker_time in history:
        fold.add(one, broker_time)
    states = fold.steps()
    ours = [
        (
            *key,
            *(state.current.status.value, state.current.attempt, state.current.execution_id.hex()),
            *(state.current.queued_at, state.current.started_at, state.current.winner_time),
            *(state.current.winner.duration_ms, state.current.winner.error_type),
            *(state.current.winner.error_message, state.current.winner.details, state.current.winner.metrics),
            *(state.current.depends_on, state.executions, state.events),
        )
        for key, state in states.items()
    ]
    assert sorted(folding.states(), key=repr) == sorted(ours, key=repr)


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


# --- queued here, run there ------------------------------------------------------------------------------------


def queued(*arrivals: StepEvent) -> tuple[S, int, int | None, int | None]:
    """Status, executions, and when the current one was queued and started, after T0; the same in every order."""
    found = {
        (
            state.current.status,
            state.executions,
            None if state.current.queued_at is None else state.current.queued_at - T0,
            None if state.current.started_at is None else state.current.started_at - T0,
        )
        for order in itertools.permutations(arrivals)
        for state in [only(order)]
    }
    assert len(found) == 1
    return found.pop()


LATER = 2 * JOIN_WITHIN_US


def test_work_queued_in_one_process_and_done_in_another_is_one_run() -> None:
    """PENDING of one execution and RUNNING, SUCCESS of another are one, which knows when it was queued."""
    history = [event(1, S.PENDING, 0, execution=9), event(2, S.RUNNING, 5), event(3, S.SUCCESS, 7)]
    assert queued(*history[:1]) == (S.PENDING, 1, 0, None)
    assert queued(*history[:2]) == (S.RUNNING, 1, 0, 5)
    assert queued(*history) == (S.SUCCESS, 1, 0, 5)


def test_an_ending_alone_takes_over_what_was_queued() -> None:
    """A worker that records nothing but the ending has done what was queued."""
    assert queued(event(1, S.PENDING, 0, execution=9), event(2, S.SKIPPED, 5)) == (S.SKIPPED, 1, 0, None)


def test_each_retry_has_its_own_time_in_the_queue() -> None:
    """PENDING, RUNNING, ERROR, PENDING, RUNNING, SUCCESS over five processes are two runs, queued twice."""
    history = [
        event(1, S.PENDING, 0, execution=11),
        event(2, S.RUNNING, 1, execution=12),
        event(3, S.ERROR, 2, execution=12),
        event(4, S.PENDING, 3, execution=13),
        event(5, S.RUNNING, 4, execution=14),
        event(6, S.SUCCESS, 5, execution=14),
    ]
    assert queued(*history[:3]) == (S.ERROR, 1, 0, 1)
    assert queued(*history[:4]) == (S.PENDING, 2, 3, None)
    assert queued(*history[:5]) == (S.RUNNING, 2, 3, 4)
    assert queued(*history) == (S.SUCCESS, 2, 3, 5 - 1)


def test_what_was_queued_twice_waits_once_and_since_the_first_time() -> None:
    """Two PENDING before a run are one wait, before and after something takes it."""
    history = [
        event(1, S.PENDING, 0, execution=8),
        event(2, S.PENDING, 3, execution=9),
        event(3, S.RUNNING, 5),
    ]
    assert queued(*history[:2]) == (S.PENDING, 1, 0, None)
    assert queued(*history) == (S.RUNNING, 1, 0, 5)


def test_equal_times_join() -> None:
    """A PENDING and a RUNNING of the same microsecond are one run, whichever id is greater."""
    for pending, running in ((1, 2), (2, 1)):
        both = [event(1, S.PENDING, 3, execution=pending), event(2, S.RUNNING, 3, execution=running)]
        assert queued(*both) == (S.RUNNING, 1, 3, 3)


def test_a_queue_whose_clock_is_a_little_ahead_does_not_hide_the_run() -> None:
    """A PENDING told up to a second after the run's last event is of that run, and was queued no later than it."""
    for late in (1, JOIN_WITHIN_US):
        history = [event(1, S.PENDING, 5 + late, execution=9), event(2, S.RUNNING, 5)]
        assert queued(*history) == (S.RUNNING, 1, 5, 5)
        assert queued(*history, event(3, S.SUCCESS, 6)) == (S.SUCCESS, 1, 5, 5)


def test_a_queue_whose_clock_is_ahead_counts_from_when_the_broker_had_it() -> None:
    """A PENDING stamped an hour ahead, which the broker had before the run began, is of that run."""
    ahead = (event(1, S.PENDING, 3_600_000_000, execution=9), T0 + 2)
    state = only([ahead, (event(2, S.RUNNING, 3), T0 + 4), (event(3, S.SUCCESS, 5), T0 + 6)])
    assert (state.current.status, state.executions, state.current.queued_at) == (S.SUCCESS, 1, T0 + 2)


@pytest.mark.parametrize("ending", [S.ERROR, S.FAILED])
def test_a_pending_after_a_failure_waits_for_a_retry(ending: S) -> None:
    """However soon it comes."""
    history = [event(1, S.RUNNING, 0), event(2, ending, 1), event(3, S.PENDING, 2, execution=9)]
    assert queued(*history) == (S.PENDING, 2, 2, None)


@pytest.mark.parametrize("before", [S.RUNNING, S.SUCCESS, S.WARNING, S.SKIPPED])
def test_a_pending_after_a_run_waits_when_it_is_another_attempt_or_clearly_later(before: S) -> None:
    """A greater attempt waits at once, the same one after a second, in which clocks may differ."""
    assert queued(event(1, before, 0), event(2, S.PENDING, 2, execution=9, attempt=2))[:2] == (S.PENDING, 2)
    assert queued(event(1, before, 0), event(2, S.PENDING, 2, execution=9))[:2] == (before, 1)
    assert queued(event(1, before, 0), event(2, S.PENDING, LATER, execution=9))[:2] == (S.PENDING, 2)


def test_the_run_has_attempt_and_dependencies_of_what_it_took_over() -> None:
    """What only the queue knew is known of the run; what the run says itself counts more."""
    pending = event(1, S.PENDING, 0, execution=9, attempt=3, depends_on='["read"]')
    taken = only([pending, event(2, S.SUCCESS, 5)]).current
    assert (taken.attempt, taken.depends_on, taken.events) == (3, '["read"]', 2)
    said = only([pending, event(2, S.SUCCESS, 5, depends_on='["split"]')]).current
    assert said.depends_on == '["split"]'


# --- clocks ----------------------------------------------------------------------------------------------------


def measured(number: int, status: S, time: int, execution: int = 1, **more: object) -> StepEvent:
    """An event whose time its emitter took from the clock when it made the id."""
    return event((T0 + time) // 1000 << 80 | number, status, time, execution, **more)


BEHIND = 90_000_000


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_a_retry_on_a_worker_whose_clock_is_behind_is_the_later_one(order: tuple[int, ...]) -> None:
    """What it measured before it knew counts by the offset that it reports, whenever the report comes."""
    arrivals = [
        (event(1, S.RUNNING, 0), T0 + 10),
        (event(2, S.ERROR, 1_000, sequence=1), T0 + 2_000),
        (
            measured(3, S.RUNNING, 5_000_000 - BEHIND, execution=2, emitter_id=b"behind me"[:8], sequence=0),
            T0 + 5_050_000,
        ),
        (
            measured(4, S.SUCCESS, 5_010_000 - BEHIND, execution=2, emitter_id=b"behind me"[:8], sequence=1),
            T0 + 5_060_000,
        ),
    ]
    fold = Fold()
    for number in order:
        fold.add(*arrivals[number])
        if number == order[0]:
            fold.early_clock(b"behind me"[:8], 2, BEHIND)
    (state,) = fold.steps().values()
    assert (state.current.status, state.executions) == (S.SUCCESS, 2)
    assert (state.current.started_at, state.current.winner_time) == (T0 + 5_000_000, T0 + 5_010_000)


def test_given_times_and_later_events_are_not_corrected() -> None:
    """A time that is not of the id's millisecond was given; from `early_events` on the emitter corrects by itself."""
    given = event((T0 + 10_000) // 1000 << 80 | 1, S.SUCCESS, -BEHIND)
    later = measured(2, S.SUCCESS, -BEHIND, sequence=2)
    for one in (given, later):
        fold = Fold()
        fold.add(one, T0 + 20_000)
        fold.early_clock(bytes(8), 2, BEHIND)
        (state,) = fold.steps().values()
        assert state.current.winner_time == T0 - BEHIND
