"""The fold: the state of a step by its events, in whatever order they arrive.

The rule, of which ClickHouse's `step_state` is the other statement:

- An event's time is `min(timestamp, broker time)`, so that a clock that runs ahead wins nothing. An event that
  was sent twice has several broker times: the greatest counts.
- Emitters correct the times that they measure by the brokers' clock, once they know how far theirs is off. To what an
  emitter measured before, and says so (`early_clock`), the offset is added here. It was measured, and not given, when
  it is of the millisecond that the event's id names.
- An execution is decided by its event with the greatest (rank, time, event_id), where PENDING < RUNNING < every
  ending. So a late RUNNING never reopens an execution that has ended.
- Work that is queued in one process and done in another has two execution ids: one that only ever was PENDING, and
  one that ran or ended. They are one run. Let L be the time of the latest event of any execution that ran or
  ended. What was only PENDING and has no event after L is *taken over*: by the execution that begins at or after
  its first event, the least (first event, execution_id) of these, else by the one that began last. What has an
  event after L waits for a run that is still to come; all of these together are one.
- Clocks of two machines differ by a little. So a PENDING after L is taken over as well when it comes at most
  JOIN_WITHIN_US after it, names no greater attempt than the execution of L, and that did not end in ERROR or
  FAILED, after which a PENDING is a retry. Where one that is later than L does wait, all of them do.
- A step's current execution is the one that waits, if any does; else, of those that ran or ended, the one with the
  latest event; at equal times, the one with the greater execution_id. So a retry after an ERROR shows as running.

Everything here is a function of the *set* of arrivals: order, repetition and the cut into batches do not show.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from steptrail.schemas.event import StepEvent
from steptrail.schemas.ids import ms_of_id
from steptrail.schemas.status import ProcessingStatus

NO_DEPENDENCIES = "[]"

JOIN_WITHIN_US = 1_000_000
"""By how much clocks of two machines may differ for a PENDING to count as that of a run, in microseconds."""

_FAILED = frozenset({ProcessingStatus.ERROR, ProcessingStatus.FAILED})

ExecutionKey = tuple[str, str, str, bytes]
StepKey = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class ExecutionState:
    """One run of one step, folded. Times are microseconds since the epoch, in UTC, as the fold counts them."""

    pipeline: str
    doc_id: str
    step_name: str
    execution_id: bytes
    winner: StepEvent
    """The event that decides: status, duration, error, details and metrics are its own."""
    winner_time: int
    attempt: int
    """The greatest attempt that any event of the execution named."""
    depends_on: str
    """JSON array of the greatest event that named any; `[]` when none did."""
    queued_at: int | None
    """When it was queued, which is never after it began; None when no PENDING event is known."""
    started_at: int | None
    """When it first ran; None when no RUNNING event is known."""
    first_any: int
    last_any: int
    events: int
    """Distinct events."""

    @property
    def status(self) -> ProcessingStatus:
        """The status of the deciding event."""
        return self.winner.status


@dataclass(frozen=True, slots=True)
class CurrentStep:
    """The state of one step of one document: its current execution, and what there is in all."""

    current: ExecutionState
    """With what it took over: attempt, dependencies, times and events are of all that was joined."""
    executions: int
    """Runs of the step, and the one that is waited for; what was taken over is none of its own."""
    events: int


class Fold:
    """A set of arrivals that can grow in any order, be merged with another, and be read at any time.

    It keeps every distinct event; memory grows with them. Not safe for use from several threads at once.
    """

    def __init__(self) -> None:
        self._executions: dict[ExecutionKey, dict[bytes, tuple[StepEvent, float]]] = {}
        self._early: dict[bytes, tuple[int, int]] = {}

    def add(self, event: StepEvent, broker_time: int | None = None) -> None:
        """Take one arrival; `broker_time` in microseconds, None where there is no broker."""
        key = (event.pipeline, event.doc_id, event.step_name, event.execution_id)
        self._keep(
            self._executions.setdefault(key, {}), event, math.inf if broker_time is None else broker_time
        )

    def early_clock(self, emitter_id: bytes, events: int, offset_us: int) -> None:
        """Take what an emitter reports: of its first so many events, measured times lack `offset_us` microseconds."""
        known = self._early.get(emitter_id, (events, offset_us))
        self._early[emitter_id] = max(events, known[0]), max(offset_us, known[1])

    def merge(self, other: Fold) -> None:
        """Take everything that `other` has seen; `other` stays as it is."""
        for key, arrivals in other._executions.items():
            mine = self._executions.setdefault(key, {})
            for event, broker_time in arrivals.values():
                self._keep(mine, event, broker_time)
        for emitter_id, (events, offset_us) in other._early.items():
            self.early_clock(emitter_id, events, offset_us)

    def executions(self) -> Iterator[ExecutionState]:
        """Every execution by its own events, before any is joined with another; ordered by its key."""
        for key in sorted(self._executions):
            yield _execution(key, self._times(key))

    def steps(self) -> dict[StepKey, CurrentStep]:
        """The state of every step, by (pipeline, doc_id, step_name), in that order."""
        by_step: dict[StepKey, list[ExecutionState]] = {}
        for state in self.executions():
            by_step.setdefault((state.pipeline, state.doc_id, state.step_name), []).append(state)
        return {key: self._step(states) for key, states in by_step.items()}

    def _step(self, states: list[ExecutionState]) -> CurrentStep:
        runs = sorted(
            (state for state in states if state.status is not ProcessingStatus.PENDING),
            key=lambda state: (state.first_any, state.execution_id),
        )
        queued = [state for state in states if state.status is ProcessingStatus.PENDING]
        waiting = _waiting(runs, queued)
        if waiting:
            current = max(waiting, key=lambda state: (state.winner_time, state.winner.event_id))
            joined = waiting
        else:
            current = max(runs, key=lambda state: (state.last_any, state.execution_id))
            joined = [current, *(state for state in queued if _taken_by(runs, state) is current)]
        return CurrentStep(
            current=self._joined(current, joined),
            executions=len(runs) + bool(waiting),
            events=sum(state.events for state in states),
        )

    def _joined(self, current: ExecutionState, joined: list[ExecutionState]) -> ExecutionState:
        """`current` with the events of all of `joined`, of which it is one."""
        keys = [(one.pipeline, one.doc_id, one.step_name, one.execution_id) for one in joined]
        arrivals = chain.from_iterable(self._times(key) for key in keys)
        return _execution((*keys[0][:3], current.execution_id), arrivals)

    def _times(self, key: ExecutionKey) -> Iterator[tuple[StepEvent, int]]:
        """The distinct events of an execution, each with its time in the fold."""
        for event, broker_time in self._executions[key].values():
            events, offset_us = self._early.get(event.emitter_id, (0, 0))
            early = event.sequence < events and event.timestamp // 1000 == ms_of_id(event.event_id)
            yield event, int(min(event.timestamp + offset_us * early, broker_time))

    @staticmethod
    def _keep(arrivals: dict[bytes, tuple[StepEvent, float]], event: StepEvent, broker_time: float) -> None:
        known = arrivals.get(event.event_id)
        if known is None or broker_time > known[1]:
            arrivals[event.event_id] = (event, broker_time)


def _execution(key: ExecutionKey, arrivals: Iterable[tuple[StepEvent, int]]) -> ExecutionState:
    ordered = sorted(arrivals, key=lambda arrival: (arrival[0].status.rank, arrival[1], arrival[0].event_id))
    winner, winner_time = ordered[-1]
    runs = [time for event, time in ordered if event.status is ProcessingStatus.RUNNING]
    depending = [event.depends_on for event, _ in ordered if event.depends_on != NO_DEPENDENCIES]
    times = [time for _, time in ordered]
    pipeline, doc_id, step_name, execution_id = key
    return ExecutionState(
        pipeline=pipeline,
        doc_id=doc_id,
        step_name=step_name,
        execution_id=execution_id,
        winner=winner,
        winner_time=winner_time,
        attempt=max(event.attempt for event, _ in ordered),
        depends_on=depending[-1] if depending else NO_DEPENDENCIES,
        queued_at=min(times) if ordered[0][0].status is ProcessingStatus.PENDING else None,
        started_at=min(runs) if runs else None,
        first_any=min(times),
        last_any=max(times),
        events=len(ordered),
    )


def _waiting(runs: Sequence[ExecutionState], queued: Sequence[ExecutionState]) -> list[ExecutionState]:
    """Those of `queued` that wait for a run that is still to come: all that are later than every run, or none."""
    if not runs:
        return list(queued)
    latest = max(runs, key=lambda state: (state.last_any, state.execution_id))
    later = [state for state in queued if state.last_any > latest.last_any]
    return later if any(_waits_after(latest, state) for state in later) else []


def _waits_after(latest: ExecutionState, queued: ExecutionState) -> bool:
    """Whether something queued after the latest run's last event is not that run, told late by another clock."""
    return (
        latest.status in _FAILED
        or queued.attempt > latest.attempt
        or queued.last_any > latest.last_any + JOIN_WITHIN_US
    )


def _taken_by(runs: Sequence[ExecutionState], queued: ExecutionState) -> ExecutionState:
    """The run that takes over what was queued; `runs` in the order in which they began."""
    begin = bisect_left(runs, queued.first_any, key=lambda state: state.first_any)
    return runs[min(begin, len(runs) - 1)]
