"""The fold: derives the state of a step from its events, in any order of arrival.

The rule, which ClickHouse's `step_state` implements as well:

- An event's time is `min(timestamp, broker time)`, so that a clock that runs ahead gains nothing. An event that
  was sent twice has several broker times: the greatest counts.
- Emitters correct their own times by the brokers' clock once they know the offset. For an emitter that reports
  uncorrected times before that (`early_clock`), the offset is added here. A time is the emitter's own, not the
  caller's, if it is in the same millisecond as the event's id.
- The event with the greatest (rank, time, event_id) decides an execution, where PENDING < RUNNING < every ending.
  So a late RUNNING never reopens an execution that has ended.
- Work that is queued in one process and done in another has two execution ids: one that only ever was PENDING, and
  one that ran or ended. They are one run. Let L be the time of the latest event of any execution that ran or
  ended. What was only PENDING and has no event after L is *taken over*: by the execution that begins at or after
  its first event, the least (first event, execution_id) of these, else by the one that began last. What has an
  event after L waits for a run that is still to come; all of these together are one.
- Clocks of two machines differ slightly. So a PENDING after L is also taken over if it is at most JOIN_WITHIN_US
  after it, has no greater attempt than the execution of L, and that execution did not end in ERROR or FAILED, after
  which a PENDING is a retry. If any that is later than L waits, all of them do.
- A step's current execution is the waiting one, if any; otherwise, of those that ran or ended, the one with the latest
  event; at equal times, the one with the greater execution_id. So a retry after an ERROR shows as running.

The result is a function of the *set* of arrivals: order, duplicates and batch boundaries make no difference.
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
    """One run of one step, folded. Times are the fold's, in microseconds since the epoch, UTC."""

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
    """The state of one step of one document: its current execution, and totals over all executions."""

    current: ExecutionState
    """With what it took over: attempt, dependencies, times and events are of all that was joined."""
    executions: int
    """Runs of the step, and the one that is waited for; what was taken over is none of its own."""
    events: int


class Fold:
    """A set of arrivals that can grow in any order, be merged with another, and be read at any time.

    It keeps every distinct event, so memory grows with their number. Not thread-safe.
    """

    def __init__(self) -> None:
        self._executions: dict[ExecutionKey, dict[bytes, tuple[StepEvent, float]]] = {}
        self._early: dict[bytes, tuple[int, int]] = {}

    def add(self, event: StepEvent, broker_time: int | None = None) -> None:
        """Add one arrival; `broker_time` in microseconds since the epoch, None without a broker."""
        key = (event.pipeline, event.doc_id, event.step_name, event.execution_id)
        self._keep(
            self._executions.setdefault(key, {}), event, math.inf if broker_time is None else broker_time
        )

    def early_clock(self, emitter_id: bytes, events: int, offset_us: int) -> None:
        """Add an emitter's report: `offset_us` must be added to its own times in its first `events` events."""
        known = self._early.get(emitter_id, (events, offset_us))
        self._early[emitter_id] = max(events, known[0]), max(offset_us, known[1])

    def merge(self, other: Fold) -> None:
        """Add everything in `other`, which is not changed."""
        for key, arrivals in other._executions.items():
            mine = self._executions.setdefault(key, {})
            for event, broker_time in arrivals.values():
                self._keep(mine, event, broker_time)
        for emitter_id, (events, offset_us) in other._early.items():
            self.early_clock(emitter_id, events, offset_us)

    def executions(self) -> Iterator[ExecutionState]:
        """Every execution from its own events, before any are joined; ordered by key."""
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
        """`current` merged with the events of all of `joined`, which contains it."""
        keys = [(one.pipeline, one.doc_id, one.step_name, one.execution_id) for one in joined]
        arrivals = chain.from_iterable(self._times(key) for key in keys)
        return _execution((*keys[0][:3], current.execution_id), arrivals)

    def _times(self, key: ExecutionKey) -> Iterator[tuple[StepEvent, int]]:
        """An execution's distinct events, each with its time in the fold."""
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
    """Those of `queued` that wait for a future run: all that are later than every run, or none."""
    if not runs:
        return list(queued)
    latest = max(runs, key=lambda state: (state.last_any, state.execution_id))
    later = [state for state in queued if state.last_any > latest.last_any]
    return later if any(_waits_after(latest, state) for state in later) else []


def _waits_after(latest: ExecutionState, queued: ExecutionState) -> bool:
    """Whether `queued`, after the latest run's last event, is a new run rather than that run by another clock."""
    return (
        latest.status in _FAILED
        or queued.attempt > latest.attempt
        or queued.last_any > latest.last_any + JOIN_WITHIN_US
    )


def _taken_by(runs: Sequence[ExecutionState], queued: ExecutionState) -> ExecutionState:
    """The run that takes over `queued`; `runs` are ordered by their start."""
    begin = bisect_left(runs, queued.first_any, key=lambda state: state.first_any)
    return runs[min(begin, len(runs) - 1)]
